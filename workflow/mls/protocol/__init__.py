"""What client and server say to each other: requests, event streams, completions."""
