"""Drawings of what speculative decoding brings."""
