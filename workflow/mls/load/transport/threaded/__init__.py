"""The second opinion: `requests` with one thread per place."""
