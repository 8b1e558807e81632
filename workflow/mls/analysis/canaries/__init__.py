"""Replies to canaries: those alone held against each other, and those under load."""
