"""Conversations: how long they take, and what of their context is processed anew."""
