#!/bin/sh
# All static checks; the tools come from the test environment on PATH.
set -eu
ruff format --check .
ruff check .
snakefmt --check Snakefile workflow
mypy
mls schemas --check
snakemake --lint
