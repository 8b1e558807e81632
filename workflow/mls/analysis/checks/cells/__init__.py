"""Checks of whole cells."""
