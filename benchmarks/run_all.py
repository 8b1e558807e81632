"""All benchmarks, one after another: `python -m benchmarks.run_all` (`make bench`).

With `--peers` only those that need the peers' environments (`make bench-peers`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.rig import ROOT

OWN = (
    "accuracy",
    "rate",
    "scaling",
    "open_loop",
    "stopped",
    "disturbance",
    "coverage",
    "analysis",
)
WITH_PEERS = (("peers",), ("disturbance", "--peers", "aiperf", "guidellm", "genai-bench"))


def main(peers: bool) -> int:
    """Exit status: 0 when each benchmark came to its end."""
    failed = []
    for name, *arguments in WITH_PEERS if peers else [(name,) for name in OWN]:
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
    options.add_argument("--peers", action="store_true")
    sys.exit(main(options.parse_args().peers))
