"""The README's packages and both of its commands, from a clone, in Debian roots made for it.

`make test-fresh [SUITES='bookworm trixie'] [RUNS='report test'] [TESTS=tests/unit] [FRESH=FOLDER]`, as
root. Needs nothing but the standard library, so that no environment of the checkout is involved.
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
DONE = "Nothing to be done"


def packages(readme: str) -> list[str]:
    """What the README's apt line installs."""
    return re.search(r"^sudo apt-get install (.+)$", readme, re.M)[1].split()


def tried(root: Root, command: str) -> str:
    """The output of a command in the clone, whose closing lines are printed. Raises `SystemExit`."""
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
    """`make report`, and once more."""
    tried(root, "make report")
    if not root.path(RESULT).is_file():
        raise SystemExit(f"{root.name}: make report succeeded and left no {RESULT}.")
    if DONE not in tried(root, "make report"):
        raise SystemExit(f"{root.name}: the second make report found something to do.")


def check(suite: str, runs: list[str], tests: str, folder: Path) -> None:
    """One release of Debian. Raises `SystemExit`."""
    made = base(suite, packages((ROOT / "README.md").read_text()), mirror(), folder)
    with made.copy(folder) as root:
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
            tried(root, f"make test TESTS='{tests}'" if tests else "make test")


def main() -> int:
    """Every release is tried, whatever becomes of the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", required=True, help="releases of Debian")
    parser.add_argument("--runs", nargs="+", required=True, choices=["report", "test"])
    parser.add_argument("--tests", default="", help="make test TESTS=…")
    parser.add_argument("--keep", type=Path, help="folder that keeps the roots for the next time")
    options = parser.parse_args()
    if os.getuid() != 0:
        sys.exit("Roots of Debian can only be made by root: sudo make test-fresh")
    changed = ["git", "status", "--porcelain"]
    if subprocess.run(changed, cwd=ROOT, capture_output=True, check=True).stdout:
        print("What is not committed is not in the clone, and not tried.")
    # ended by either signal, it still ends what runs in a root, and removes the root
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    failed = []
    with tempfile.TemporaryDirectory(prefix="mls-fresh-") as temporary:
        folder = options.keep.resolve() if options.keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for suite in options.suites:
            try:
                check(suite, options.runs, options.tests, folder)
            except SystemExit as error:
                print(error.code, flush=True)
                failed.append(suite)
    print(f"\nFailed: {', '.join(failed)}" if failed else f"\nPassed: {', '.join(options.suites)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
