"""What `make report` starts: the check of a call, Snakemake in this process, and what it shows."""
