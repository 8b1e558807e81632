"""Checks of the server: its own books, and how it shares its work out."""
