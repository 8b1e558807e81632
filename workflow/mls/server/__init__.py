"""The server under test: its API, its model file, its process when managed. Knows no MPI."""
