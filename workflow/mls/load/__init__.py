"""The load generator: workload, MPI dispatch, transports, raw records."""
