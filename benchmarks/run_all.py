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


def main(chosen: str) -> int:
    """Exit status: 0 when each benchmark came to its end."""
    failed = []
    for name, *arguments in SETS[chosen]:
        began = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        status = subprocess.run(command, cwd=ROOT).returncode
        print(f"benchmarks.{name}: {time.monotonic() - began:.0f} s\n", flush=True)
        if status:
            failed.append(name)
    if failed:
        print(f"Not finished: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("chosen", metavar="SET", choices=SETS)
    sys.exit(main(options.parse_args().chosen))
