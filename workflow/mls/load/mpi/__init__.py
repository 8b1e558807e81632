"""What ranks tell each other: roles, jobs, clocks, records."""
