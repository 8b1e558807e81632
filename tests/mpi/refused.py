"""Several runs of one rank that are refused, one after another: `refused.py FILE`.

FILE holds a list of [variables of the environment, options]. A line on both streams ends what a
run says.
"""

import json
import os
import sys
from pathlib import Path

import typer

from mls.commands.run import run

if __name__ == "__main__":
    app = typer.Typer()
    app.command()(run)
    for variables, options in json.loads(Path(sys.argv[1]).read_text()):
        os.environ.update(variables)
        status = app(options, standalone_mode=False)
        for stream in (sys.stdout, sys.stderr):
            print(f"=== end of run, exit status {status or 0}", file=stream, flush=True)
        for name in variables:
            del os.environ[name]
