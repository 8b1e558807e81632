"""What cards and CPUs did and took during one repeat, from its telemetry."""
