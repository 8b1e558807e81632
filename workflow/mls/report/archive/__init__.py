"""The archive: a zip of everything behind a report, and its metadata."""
