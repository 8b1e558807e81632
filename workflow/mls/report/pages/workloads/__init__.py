"""Tables of one kind of workload."""
