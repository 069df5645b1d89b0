"""Many configurations: what is searched, the search, its trials, and what they come to."""
