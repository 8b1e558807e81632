"""Drawings along the turns of conversations."""
