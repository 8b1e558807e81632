"""The server's memory on the card: by this project's telemetry, and by nvidia-smi.

`python -m benchmarks.gpu.memory --output FILE` serves the first cell of inflight.yaml, and compares
both at one moment.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.gpu.sweep import HERE, MLS, prepare
from mls.analysis.repeat.hardware.series import series
from mls.config.parse import load_config
from mls.core.units import NS_PER_S
from mls.server.telemetry.samples import collect

SETTLE_S = 3


def by_nvidia_smi(pids: set[int]) -> float:
    """MiB of these processes, over all cards."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(",") for line in lines if line.strip()]
    return sum(float(mib) for pid, mib in rows if int(pid) in pids)


def compare(output: Path) -> None:
    """Within `mls serve`: write `{nvidia_smi_mib, telemetry_mib, card_used_mib, difference}`."""
    time.sleep(SETTLE_S)
    engine = psutil.Process(int(os.environ["MLS_SERVER_PID"]))
    smi_mib = by_nvidia_smi({engine.pid, *(child.pid for child in engine.children(recursive=True))})
    now = time.monotonic_ns()
    table = collect(now - NS_PER_S, now)
    figures = series(table) if table is not None else {}
    telemetry_mib = sum(
        s.value[-1] for (_, name), s in figures.items() if name == "server_memory_mib"
    )
    card_mib = sum(s.value[-1] for (_, name), s in figures.items() if name == "memory_used_mib")
    difference = abs(telemetry_mib - smi_mib) / smi_mib if smi_mib else None
    comparison = {
        "nvidia_smi_mib": smi_mib,
        "telemetry_mib": telemetry_mib,
        "card_used_mib": card_mib,
    }
    output.write_text(json.dumps(comparison | {"difference": difference}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    if "MLS_SERVER_PID" in os.environ:
        compare(output)
        return 0
    config = HERE / "inflight.yaml"
    prepare(config, load_config(config))
    again = [sys.executable, "-m", "benchmarks.gpu.memory", "--output", str(output)]
    log = f"{output}.server"
    return subprocess.run(
        [*MLS, "serve", "--config", str(config), "--log", log, "--", *again]
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
