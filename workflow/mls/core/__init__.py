"""Errors, units, files, digests, records and results of a repeat. Imports no other layer."""
