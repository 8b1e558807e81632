"""Benchmarks one after another: `python -m benchmarks.run_all SET`.

`generator` (`make bench`) and `peers` (`make bench-peers`, which need environments of their own)
want a quiet machine; `analysis` (`make bench-analysis`) doesn't.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.rig import ROOT

SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "generator": (
        ("accuracy",),
        ("rate",),
        ("scaling",),
        ("open_loop",),
        ("stopped",),
        ("disturbance",),
    ),
    "peers": (
        ("peers",),
        ("disturbance", "--repeats", "2", "--peers", "aiperf", "guidellm", "genai-bench"),
    ),
    "analysis": (("coverage",), ("power",), ("analysis",)),
}


def main(set_name: str) -> int:
    """Exit status: 0 when each benchmark came to its end."""
    failures = []
    for name, *arguments in SETS[set_name]:
        begin_s = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        status = subprocess.run(command, cwd=ROOT).returncode
        print(f"benchmarks.{name}: {time.monotonic() - begin_s:.0f} s\n", flush=True)
        if status:
            failures.append(name)
    if failures:
        print(f"Not finished: {', '.join(failures)}.", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", metavar="SET", choices=SETS)
    sys.exit(main(parser.parse_args().set))
