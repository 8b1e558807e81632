"""Starting MPI programs: what each launcher needs."""
