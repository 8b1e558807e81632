"""What the users of a server get, and what it costs its owner."""
