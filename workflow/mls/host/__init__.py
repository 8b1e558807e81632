"""The machine: its processes, its MPI, its packages and hardware. Knows no HTTP."""
