"""Managed engines: started, watched, ended."""
