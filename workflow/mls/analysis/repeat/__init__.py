"""The figures of one repeat, from its records."""
