"""Fuzz the parsers of replies: `python -m benchmarks.fuzz [--minutes 60]`, PYTHONPATH=workflow.

All targets run side by side, in an environment of their own, which the first run makes. Each ends
with its first finding. Inputs that reach new code are kept in `results/bench/fuzz/<target>`, and
the next run begins with them. Exit status 1 when there are findings.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import install
from benchmarks.fuzz.targets import TARGETS
from benchmarks.rig import RESULTS, ROOT, RigError, python_env

HERE = Path(__file__).resolve().parent
FOLDER = RESULTS / "fuzz"
LISTS = (ROOT / "requirements" / "run.txt", HERE / "atheris.txt")
_LONGEST_INPUT = 4096
_SLOWEST_INPUT_S = 300  # by the wall clock: on busy cores an input takes long


def start(python: str, target: str, seconds: int) -> subprocess.Popen[bytes]:
    """Fuzz one target in a process of its own; its log is `<target>.log`."""
    corpus = FOLDER / target
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = HERE / "seeds" / target
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST_INPUT}",
        f"-timeout={_SLOWEST_INPUT_S}",
        f"-report_slow_units={_SLOWEST_INPUT_S}",
        f"-dict={HERE / 'words.dict'}",
        f"-artifact_prefix={FOLDER}/{target}-",
    ]
    with _log(target).open("wb") as log:
        return subprocess.Popen(
            [python, "-m", "benchmarks.fuzz.driver", target, *options, str(corpus), str(seeds)],
            cwd=ROOT,
            env=os.environ | python_env(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def row(target: str, status: int) -> str:
    """A target's line of the table: executions, edges of the code reached, inputs, findings."""
    log = _log(target).read_text(errors="replace")
    runs = re.findall(r"^#(\d+)\s.*?cov: (\d+)", log, re.MULTILINE)
    executions, edges = map(int, runs[-1]) if runs else (0, 0)
    inputs = len(list((FOLDER / target).iterdir()))
    findings = sorted(path.name for path in FOLDER.glob(f"{target}-*"))
    if status and not findings:
        findings = [f"exit status {status}, see {_log(target)}"]
    return f"{target:8} {executions:>12,} {edges:>8,} {inputs:>8,}  {', '.join(findings) or 'none'}"


def main(minutes: float) -> int:
    python = install(RESULTS / ".build" / "fuzz", *LISTS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in (path for target in TARGETS for path in FOLDER.glob(f"{target}-*")):
        old.unlink()
    running = {target: start(python, target, round(60 * minutes)) for target in TARGETS}
    try:
        statuses = {target: process.wait() for target, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    print(f"{'target':8} {'executions':>12} {'reached':>8} {'kept':>8}  findings in {FOLDER}")
    for target, status in statuses.items():
        print(row(target, status))
    return int(any(statuses.values()))


def _log(target: str) -> Path:
    return FOLDER / f"{target}.log"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    try:
        sys.exit(main(parser.parse_args().minutes))
    except RigError as error:
        sys.exit(str(error))
