"""Conversations: what is said by whom, and the pauses between."""
