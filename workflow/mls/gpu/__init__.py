"""Accelerators: their inventory, their telemetry, and the post-processing of replies on them."""
