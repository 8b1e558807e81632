"""Can the figures be believed? Checks of repeats and of cells."""
