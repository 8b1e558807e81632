"""Several runs of one job, one after another: `in_turn.py FILE`, whose ranks import only once.

FILE holds the options of each run, as a list of lists.
"""

import json
import sys
from pathlib import Path

import typer

from mls.commands.run import run

if __name__ == "__main__":
    app = typer.Typer()
    app.command()(run)
    for options in json.loads(Path(sys.argv[1]).read_text()):
        if status := app(options, standalone_mode=False):
            sys.exit(status)
