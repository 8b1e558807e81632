"""Checks of a call of `make report`, by nothing but the standard library.

They come before anything is installed: `python3 workflow/launcher/call.py --cores 2 --config FILE`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """The options that make passes on; an empty value stands for none."""
    options = argparse.ArgumentParser(prog="make report", allow_abbrev=False)
    options.add_argument("--cores", default="all")
    options.add_argument("--config", default="")
    options.add_argument("--profile", default="")
    options.add_argument("--verbose", default="")
    return options


def problem(options: argparse.Namespace) -> str | None:
    """What is wrong with the call, in one sentence; None when nothing is."""
    return _cores(options.cores) or (_config(Path(options.config)) if options.config else None)


def _cores(text: str) -> str | None:
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return None
    return f"CORES={text}: expected a whole number from 1, or all."


def _config(path: Path) -> str | None:
    if path.is_dir():
        return f"CONFIG={path} is a folder: give a file in it, such as config/config.yaml."
    if not path.exists():
        return f"CONFIG={path}: there is no such file; ready ones are in config/sweeps."
    if not os.access(path, os.R_OK):
        return f"CONFIG={path} can't be read: allow it (chmod u+r), or give another file."
    return None


def main(arguments: Sequence[str]) -> int:
    """Print the problem, if there is one. Returns the exit status."""
    sentence = problem(parser().parse_args(arguments))
    if sentence:
        print(sentence, file=sys.stderr)
    return int(sentence is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
