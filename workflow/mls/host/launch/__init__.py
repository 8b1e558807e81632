"""The start of MPI programs: what each launcher needs."""
