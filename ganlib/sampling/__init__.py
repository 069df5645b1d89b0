"""Generator file → images."""
