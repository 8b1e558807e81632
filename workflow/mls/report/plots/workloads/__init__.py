"""Drawings of one kind of workload."""
