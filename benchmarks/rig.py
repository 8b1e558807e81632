"""The rig: compiled programs, processes pinned to cores, and the CPU time of each.

Every process is started and pinned here, and ended here by its id.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.records import Truth, read_truth

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "bench"
SOURCES = Path(__file__).resolve().parent / "ground_truth"

SERVER_CORE, CLIENT_CORE = 0, 1
_STOP_S = 60
_SAMPLE_S = 0.2


class RigError(Exception):
    """A benchmark can't be run here; its text says why and what to do."""


def check_machine() -> None:
    """Raises `RigError` when the benchmarks can't be run on this machine."""
    for tool, package in (("g++", "g++"), ("taskset", "util-linux")):
        if not shutil.which(tool):
            raise RigError(f"{tool} is missing: install {package}.")
    if len(os.sched_getaffinity(0)) < 2:
        raise RigError("Two cores are needed: one for the server and one for the client.")


def executable(name: str) -> Path:
    """Path of `server` or `client`, built from its sources when they have changed."""
    sources = sorted(SOURCES.glob("*.[ch]pp"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    target = RESULTS / ".build" / f"{name}-{digest}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part")
        command = ["g++", "-O2", "-std=c++17", str(SOURCES / f"{name}.cpp"), "-o", str(partial)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise RigError(f"{name}.cpp does not compile here: {process.stderr.strip()[:400]}")
        partial.rename(target)
    return target


@dataclass(frozen=True)
class Answer:
    """How the ground-truth server answers. Times in ms."""

    ttft_ms: float = 50
    itl_ms: float = 10
    tokens: int = 64
    tokens_per_chunk: int = 1
    slots: int = 0
    jitter_ms: float = 0
    jitter: str = "uniform"
    seed: int = 1

    @property
    def service_s(self) -> float:
        chunks = -(-self.tokens // self.tokens_per_chunk)
        return (self.ttft_ms + (chunks - 1) * self.itl_ms) / 1000

    def capacity(self, inflight: int, seconds: float) -> int:
        """Requests to keep memory for: what a perfect client could send, and a fifth more."""
        return int(1.2 * inflight * (seconds / max(self.service_s, 1e-3) + 2)) + 100


class GroundTruth:
    """A running ground-truth server; `stop()` ends it and reads its records."""

    def __init__(
        self, answer: Answer, folder: Path, capacity: int, core: int, port: int = 0
    ) -> None:
        """port: 0 for a free one; servers on one port share its connections."""
        folder.mkdir(parents=True, exist_ok=True)
        self._records = folder / "truth.bin"
        self._records.unlink(missing_ok=True)
        options = {
            "ttft-ms": answer.ttft_ms,
            "itl-ms": answer.itl_ms,
            "tokens": answer.tokens,
            "tokens-per-chunk": answer.tokens_per_chunk,
            "slots": answer.slots,
            "jitter-ms": answer.jitter_ms,
            "jitter": answer.jitter,
            "seed": answer.seed,
            "port": port,
            "capacity": capacity,
            "records": self._records,
        }
        command = [str(executable("server"))]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            pin(command, core), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RigError(
                f"the ground-truth server did not start: {self.process.communicate()[1]}"
            )
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> Truth:
        end(self.process)
        truth = read_truth(self._records)
        self._records.unlink()
        return truth

    def abandon(self) -> None:
        end(self.process)
        self._records.unlink(missing_ok=True)


@contextmanager
def ground_truth(
    answer: Answer, folder: Path, capacity: int, core: int = SERVER_CORE, port: int = 0
) -> Iterator[GroundTruth]:
    """A running server; its records are read by `stop()`, or dropped when that is never called."""
    server = GroundTruth(answer, folder, capacity, core, port)
    try:
        yield server
    finally:
        server.abandon()


def pin(command: list[str], *cores: int) -> list[str]:
    """The command, pinned to these cores with all its descendants."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else command


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, then SIGKILL; returns when the process is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


@dataclass
class ClientRun:
    """Output and CPU time of a client process."""

    output: str
    # samples, at moments of CLOCK_MONOTONIC: process id → CPU seconds (user + system) so far, of
    # the process and its descendants, ended ones included
    at_ns: list[int] = field(default_factory=list)
    cpu_s: list[dict[int, float]] = field(default_factory=list)

    @property
    def whole_cpu_s(self) -> float:
        """CPU seconds of the whole run up to the last sample, start-up included."""
        return sum(self.cpu_s[-1].values()) if self.cpu_s else float("nan")

    def cpu_between(self, begin_ns: int, end_ns: int) -> float:
        """CPU seconds used in this part of the run, between samples by straight lines."""
        return self._between(begin_ns, end_ns, [sum(sample.values()) for sample in self.cpu_s])

    def busiest_between(self, begin_ns: int, end_ns: int) -> float:
        """The most CPU seconds that one process used in this part of the run."""
        pids = {pid for sample in self.cpu_s for pid in sample}
        return max(
            self._between(begin_ns, end_ns, [sample.get(pid, 0.0) for sample in self.cpu_s])
            for pid in pids
        )

    def _between(self, begin_ns: int, end_ns: int, totals: list[float]) -> float:
        low, high = np.interp([begin_ns, end_ns], self.at_ns, totals)
        return float(high - low)


def run_client(
    command: list[str],
    cores: tuple[int, ...] = (CLIENT_CORE,),
    env: dict[str, str] | None = None,
    limit_s: float = 300,
    on_start: Callable[[int], None] | None = None,
) -> ClientRun:
    """Run a client to its end; `on_start` is called with its process id.

    Raises `RigError` with the end of its output when it fails or takes longer than `limit_s`.
    """
    log = RESULTS / ".build" / f"client-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+") as out:
        process = subprocess.Popen(
            pin(command, *cores),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=log.parent,
            start_new_session=True,
        )
        client_run = ClientRun("")
        watcher = _CpuWatcher(process.pid, client_run)
        watcher.start()
        if on_start:
            on_start(process.pid)
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            watcher.stop()
            if process.poll() is None:  # interrupted, or over its limit: with its group
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        client_run.output = out.read()
    log.unlink()
    if status:
        last = "\n".join(client_run.output.strip().splitlines()[-15:])
        raise RigError(f"{' '.join(command[:4])} … ended with {status}:\n{last}")
    return client_run


class _CpuWatcher(threading.Thread):
    """Samples the CPU time of a process tree five times a second."""

    def __init__(self, pid: int, client_run: ClientRun) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._client_run = client_run
        self._end = threading.Event()
        self._so_far: dict[int, float] = {}  # descendants count after their end, too

    def run(self) -> None:
        while not self._end.wait(_SAMPLE_S):
            self._sample()

    def stop(self) -> None:
        self._end.set()
        self.join()

    def _sample(self) -> None:
        try:
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        now = time.monotonic_ns()
        for process in tree:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self._so_far[process.pid] = times.user + times.system
        self._client_run.at_ns.append(now)
        self._client_run.cpu_s.append(dict(self._so_far))


def python_env() -> dict[str, str]:
    """Environment in which `python -m mls.worker` and `python -m benchmarks…` are found."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT / "workflow"), str(ROOT)])}


def generator_command(url: str, folder: Path, ranks: int = 1, **options: object) -> list[str]:
    """`mls run` with these options (`max_tokens=64` → `--max-tokens 64`; `stream=False`)."""
    command = [sys.executable, "-m", "mpi4py", "-m", "mls.worker"]
    if ranks > 1:
        mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if not mpirun:
            raise RigError("mpirun is missing: install the MPI of the run environment.")
        command = [mpirun, "-n", str(ranks), *command]
    command += ["--server", url, "--output", str(folder)]
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            command += [f"--{flag}", str(value)]
    return command


def reference_command(port: int, records: Path | None, **options: object) -> list[str]:
    """The C++ reference client; without `records` it only counts."""
    command = [str(executable("client")), "--port", str(port)]
    if records:
        command += ["--records", str(records)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def reference_figures(client_run: ClientRun) -> dict[str, float]:
    """The reference client's own count: requests, chunks, wall_s, cpu_s."""
    figures: dict[str, float] = json.loads(client_run.output.strip().splitlines()[-1])
    return figures
