"""The machine: its processes, its MPI, its packages and its hardware. Nothing here uses HTTP."""
