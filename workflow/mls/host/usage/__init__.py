"""Use of the host: its counters, its processes, and servers that mls did not start."""
