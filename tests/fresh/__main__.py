"""The README's packages and both of its commands, from a clone, in fresh roots of Debian.

As root: `make test-fresh [SUITES='bookworm trixie'] [RUNS='report test'] [TESTS=tests/unit]
[FRESH=FOLDER]`. It needs only the standard library, so no environment of the checkout is involved.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fresh.root import Root, base, mirror

ROOT = Path(__file__).parents[2]
CHECKOUT = "/root/mls"
RESULT = f"{CHECKOUT}/results/report.html"
CLOSING_LINES, FAILED_LINES, LINE = 12, 120, 200
NOTHING_TO_DO = "Nothing to do: every planned repeat has been measured"


def packages(readme: str) -> list[str]:
    """The packages of the README's apt line."""
    return re.search(r"^sudo apt-get install (.+)$", readme, re.M)[1].split()


def output_of(root: Root, command: str) -> str:
    """Run a command in the clone and print its last lines; returns its output.

    Raises `SystemExit` if the command fails.
    """
    began = time.monotonic()
    status, output = root.run(f"cd {CHECKOUT} && {command}")
    print(f"\n{root.name}: {command}: exit status {status}, {time.monotonic() - began:.0f} s")
    print(
        "".join(
            f"    {line[:LINE]}\n"
            for line in output.splitlines()[-(FAILED_LINES if status else CLOSING_LINES) :]
        ),
        flush=True,
    )
    if status:
        raise SystemExit(f"{root.name}: {command} failed.")
    return output


def report(root: Root) -> None:
    """Run `make report` twice; the second must find nothing to do. Raises `SystemExit`."""
    output_of(root, "make report")
    if not root.path(RESULT).is_file():
        raise SystemExit(f"{root.name}: make report succeeded and left no {RESULT}.")
    if NOTHING_TO_DO not in output_of(root, "make report"):
        raise SystemExit(f"{root.name}: the second make report found something to do.")


def check(suite: str, runs: list[str], tests: str, folder: Path) -> None:
    """Try one release of Debian. Raises `SystemExit`."""
    original = base(suite, packages((ROOT / "README.md").read_text()), mirror(), folder)
    with original.copy(folder) as root:
        bundle = root.path("/root/mls.bundle")
        subprocess.run(["git", "bundle", "create", "--quiet", bundle, "HEAD"], cwd=ROOT, check=True)
        clone = f"git clone --quiet -c advice.detachedHead=false mls.bundle {CHECKOUT}"
        status, output = root.run(f"{clone} && python3 --version")
        print(f"\n{suite}: {output.splitlines()[-1]}", flush=True)
        if status:
            raise SystemExit(f"{suite}: the clone failed.")
        if "report" in runs:
            report(root)
        if "test" in runs:
            output_of(root, f"make test TESTS='{tests}'" if tests else "make test")


def main() -> int:
    """Try every release, even after one has failed; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", required=True, help="releases of Debian")
    parser.add_argument("--runs", nargs="+", required=True, choices=["report", "test"])
    parser.add_argument("--tests", default="", help="make test TESTS=…")
    parser.add_argument("--keep", type=Path, help="folder that keeps the roots for the next time")
    options = parser.parse_args()
    if os.getuid() != 0:
        sys.exit("Roots of Debian can only be made by root: sudo make test-fresh")
    command = ["git", "status", "--porcelain"]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout:
        print("What is not committed is not in the clone, and not tried.")
    # after either signal the processes in a root still end, and the root is removed
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    failures = []
    with tempfile.TemporaryDirectory(prefix="mls-fresh-") as temporary:
        folder = options.keep.resolve() if options.keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for suite in options.suites:
            try:
                check(suite, options.runs, options.tests, folder)
            except SystemExit as error:
                print(error.code, flush=True)
                failures.append(suite)
    print(
        f"\nFailed: {', '.join(failures)}" if failures else f"\nPassed: {', '.join(options.suites)}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
