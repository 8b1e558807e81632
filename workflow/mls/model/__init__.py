"""Typed data: config, cell, request record, run result. Knows no other layer."""
