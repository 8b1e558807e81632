"""Model files: their sources, their parts and their headers."""
