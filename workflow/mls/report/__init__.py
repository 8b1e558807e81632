"""The page and the archive. The layer has the figures, whatever way they were measured."""
