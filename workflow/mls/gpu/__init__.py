"""Accelerators: what is there, what they are doing, and work on replies."""
