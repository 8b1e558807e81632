"""The page and the archive. Knows the figures, not how they were measured."""
