"""Image sources. One file per source; each makes an image table."""
