"""Replies to canaries alone, held against each other."""
