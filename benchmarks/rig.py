"""The rig: the compiled parts, processes pinned to cores, and what each of them cost.

Every process is started here, pinned, and ended here by its id.
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


def compiled(name: str) -> Path:
    """Path of `server` or `client`, built from its sources when they have changed."""
    sources = sorted(SOURCES.glob("*.[ch]pp"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    built = RESULTS / ".build" / f"{name}-{digest}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        partial = built.with_suffix(".part")
        command = ["g++", "-O2", "-std=c++17", str(SOURCES / f"{name}.cpp"), "-o", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RigError(f"{name}.cpp does not compile here: {done.stderr.strip()[:400]}")
        partial.rename(built)
    return built


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
    """A running ground-truth server; `stop()` ends it and reads what it recorded."""

    def __init__(
        self, answer: Answer, folder: Path, capacity: int, core: int, port: int = 0
    ) -> None:
        """port: 0 for a free one; servers given the same one share its connections."""
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
        command = [str(compiled("server"))]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            pinned(command, core), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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


def pinned(command: list[str], *cores: int) -> list[str]:
    """The command, bound to these cores with all that it starts."""
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
class Ran:
    """What a client process printed and cost."""

    output: str
    # CPU seconds (user + system) so far by process id, of the process and its descendants,
    # ended ones too, against CLOCK_MONOTONIC
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
        """The same of the one process that used most."""
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
    started: Callable[[int], None] | None = None,
) -> Ran:
    """Run a client to its end; `started` is told its process id.

    Raises `RigError` with its last words when it fails or takes longer than `limit_s`.
    """
    log = RESULTS / ".build" / f"client-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+") as out:
        process = subprocess.Popen(
            pinned(command, *cores),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=log.parent,
            start_new_session=True,
        )
        ran = Ran("")
        watcher = _CpuWatcher(process.pid, ran)
        watcher.start()
        if started:
            started(process.pid)
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            watcher.stop()
            if process.poll() is None:  # interrupted, or over its limit: with all that it started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        ran.output = out.read()
    log.unlink()
    if status:
        last = "\n".join(ran.output.strip().splitlines()[-15:])
        raise RigError(f"{' '.join(command[:4])} … ended with {status}:\n{last}")
    return ran


class _CpuWatcher(threading.Thread):
    """Samples the CPU time of a process tree five times a second."""

    def __init__(self, pid: int, ran: Ran) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._ran = ran
        self._done = threading.Event()
        self._so_far: dict[int, float] = {}  # descendants count after their end too

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._sample()

    def stop(self) -> None:
        self._done.set()
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
        self._ran.at_ns.append(now)
        self._ran.cpu_s.append(dict(self._so_far))


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
    command = [str(compiled("client")), "--port", str(port)]
    if records:
        command += ["--records", str(records)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def reference_figures(ran: Ran) -> dict[str, float]:
    """The reference client's own count: requests, chunks, wall_s, cpu_s."""
    figures: dict[str, float] = json.loads(ran.output.strip().splitlines()[-1])
    return figures
