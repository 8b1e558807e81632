"""What uses the host: counters, processes, and the servers that others started."""
