"""Accelerators: what is there."""
