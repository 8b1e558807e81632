"""What a repeat costs beside its load: one request of one token, from `mls serve` to its files.

`python -m benchmarks.overhead [--repeats 5] [--against CHECKOUT]`, in the run environment. Two ranks
and the embedded engine with the default sweep's model, which `make bench` has fetched. A second
checkout is measured by turns with this one, in its own `.venv-run` where it has one. Nothing is
added to what is measured: processes are seen from outside, the rest is in the run's files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import tables
from benchmarks.rig import RESULTS, ROOT, RigError

MODEL = ROOT / "results" / "models" / "smollm2.gguf"
LOOK_EVERY_S = 0.025
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = {
    "name": "overhead",
    "models": {"smollm2": {"path": str(MODEL)}},
    "run": {"iters": 1, "max_tokens": 1, "warmup": 0},
    "sweep": {"model": ["smollm2"], "inflight": [1], "ranks": [2]},
}

WALL = {
    "serve_s": "serve: imports",
    "engine_s": "engine until it listens",
    "ready_s": "then, until the request",
    "load_s": "load",
    "results_s": "gather, judge, write",
    "end_s": "end",
    "wall_s": "wall",
}
CPU = {
    "cpu_serve_s": "serve",
    "cpu_engine_s": "engine",
    "cpu_sampler_s": "sampler",
    "cpu_rank0_s": "rank 0",
    "cpu_rank1_s": "rank 1",
    "cpu_launcher_s": "mpirun, the rest",
    "cpu_s": "CPU",
}
STARTS = {"mpirun_at_s": "mpirun starts", "ranks_at_s": "ranks start"}


@dataclass
class Seen:
    """A process below `mls serve`: its part, the start by the kernel in s, the latest CPU time."""

    part: str
    start_s: float
    cpu_s: float = 0.0


@dataclass
class Watch:
    """All processes below one, as `/proc` shows them while it runs."""

    seen: dict[int, Seen] = field(default_factory=dict)

    def look(self, root: int) -> None:
        """Note the present processes, and the CPU time of each."""
        present = _processes()
        below = {root}
        while more := {pid for pid, values in present.items() if int(values[1]) in below} - below:
            below |= more
        for pid in below & present.keys():
            values = present[pid]
            try:
                part = _part(pid)
            except OSError:  # It has just ended
                continue
            one = self.seen.setdefault(pid, Seen(part, int(values[19]) / TICKS - _suspended_s()))
            one.part = part or one.part  # Until its exec a process is its parent's copy
            one.cpu_s = max(one.cpu_s, (int(values[11]) + int(values[12])) / TICKS)

    def start_s(self, part: str) -> float:
        return min((one.start_s for one in self.seen.values() if one.part == part), default=0.0)

    def cpu_s(self, part: str) -> float:
        return sum(one.cpu_s for one in self.seen.values() if one.part == part)


def _suspended_s() -> float:
    """For how long the host was suspended so far: the kernel's times of starts count that, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def _processes() -> dict[int, list[str]]:
    """Fields of `/proc/PID/stat` after the name, by process id."""
    present = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            present[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
    return present


def _part(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    if not command:  # It has ended
        return ""
    if "mls.server.engine" in command:
        return "engine"
    if "mls.server.telemetry" in command:
        return "sampler"
    words = command.split("\0")
    if "mls.worker" in words and "mpirun" not in command:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return "rank0" if b"PMI_RANK=0" in variables else "rank1"
    return "serve" if words[1:4] == ["-m", "mls", "serve"] else "launcher"


def measure(checkout: Path, folder: Path) -> dict[str, object]:
    """One repeat of a checkout, as one row. Raises `RigError` when it fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bins = checkout / ".venv-run" / "bin"
    python = str(bins / "python") if bins.exists() else sys.executable
    environment = os.environ | {
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "workflow"),
    }
    config, output, log = folder / "config.json", folder / "run", folder / "log.server"
    config.write_text(json.dumps(CONFIG | {"results": str(folder)}))
    description = folder / "models" / "smollm2.json"
    describe = ["model", "smollm2", "--config", config, "--output", description]
    subprocess.run([python, "-m", "mls", *map(str, describe)], env=environment, check=True)
    options = ["--config", str(config)]
    rule = (checkout / "workflow" / "rules" / "run.smk").read_text()
    at_once = ["--at-once"] if "--at-once" in rule else []
    ranks = ["mpirun", "-n", "2", "python", "-m", "mpi4py", "-m", "mls.worker"]
    serve = ["serve", *options, *at_once, "--output", str(output), "--log", str(log)]
    command = [python, "-m", "mls", *serve, "--", *ranks, *options, "--output", str(output)]
    watch, listens_s = Watch(), 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin_s = time.monotonic()
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        while process.poll() is None:
            watch.look(process.pid)
            if not listens_s and log.exists() and "\nlistening on" in f"\n{log.read_text()}":
                listens_s = time.monotonic()
            time.sleep(LOOK_EVERY_S)
    end_s = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RigError(f"{checkout}: {(folder / 'out').read_text()[-500:]}")
    table = pq.read_table(output / "requests.parquet", columns=["start_ns", "end_ns"])
    first_s, last_s = table["start_ns"][0].as_py() / 1e9, table["end_ns"][0].as_py() / 1e9
    written_s = (output / "run.json").stat().st_mtime - time.time() + time.monotonic()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    parts = {f"cpu_{p}_s": watch.cpu_s(p) for p in ("serve", "engine", "sampler", "rank0", "rank1")}
    noise = next(
        verdict["measured"]
        for verdict in json.loads((output / "run.json").read_text())["verdicts"]
        if verdict["check"] == "quiet_host"
    )
    return {
        "checkout": "this" if checkout == ROOT else "other",
        "serve_s": watch.start_s("engine") - begin_s,
        "engine_s": listens_s - watch.start_s("engine"),
        "ready_s": first_s - listens_s,
        "load_s": last_s - first_s,
        "results_s": written_s - last_s,
        "end_s": end_s - written_s,
        "wall_s": end_s - begin_s,
        **parts,
        "cpu_launcher_s": cpu_s - sum(parts.values()),
        "cpu_s": cpu_s,
        "mpirun_at_s": watch.start_s("launcher") - begin_s,
        "ranks_at_s": watch.start_s("rank0") - begin_s,
        "others": noise,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    options = parser.parse_args()
    if not MODEL.exists():
        print(f"{MODEL} is missing: run `make report` or `make bench` first.", file=sys.stderr)
        return 1
    checkouts = [ROOT, *([options.against.resolve()] if options.against else [])]
    rows = []
    for repeat in range(-1, options.repeats):  # The first fills the page cache
        for checkout in checkouts:
            row = measure(checkout, RESULTS / ".build" / "overhead")
            if repeat >= 0:
                rows.append(row)
    frame = tables.save(rows, "overhead")
    for title, values in (
        ("Where the time goes, s", WALL | STARTS),
        ("CPU, s", CPU | {"others": "others' share"}),
    ):
        summary = tables.summarise(frame, ["checkout"], list(values))
        tables.show(f"{title}: median, lowest–highest", summary, ["checkout"], values)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RigError as error:
        sys.exit(f"overhead: {error}")
