"""Errors, units, files, digests, and the records and results of a repeat. Knows no other layer."""
