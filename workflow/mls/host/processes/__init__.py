"""Processes: their signals, whose end ends them, and trees of them."""
