"""Axes of what the workload asks: nothing to choose by, but what figures change with."""
