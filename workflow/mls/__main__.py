"""`python -m mls`."""

from mls.cli import main

main()
