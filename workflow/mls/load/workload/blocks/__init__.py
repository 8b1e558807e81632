"""Prompts that share the blocks of a trace."""
