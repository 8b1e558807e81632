"""The server's prompt cache: what it could have had of each prompt."""
