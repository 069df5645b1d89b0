"""A generator against real images: numbers, pictures, pages, and the registry of what was measured."""
