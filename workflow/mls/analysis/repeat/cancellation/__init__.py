"""What became of requests that the client hung up on."""
