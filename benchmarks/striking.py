"""One blow at one process of the pipeline at a random moment, and the state afterwards.

Processes are identified by a mark in their environment, which their children inherit. So none is
overlooked, however short its life and whoever its parent.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ORPHAN_S = 5
"""All processes of a trial must end within this time after the first one's end."""

_MARK = "MLS_CHAOS"
_LOOK_S = 0.05
_LONGEST_S = 600
_ENDS_S = 120
"""A measurement must end within this time after the blow, well below the requests' time limit."""
_REQUESTS = 4
CELL = "model~smollm2/inflight~2/ranks~2"


def processes_with(mark: str) -> list[psutil.Process]:
    """All living processes of one trial; a zombie has no environment any more."""
    processes = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if f"{_MARK}={mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                processes.append(psutil.Process(pid))
    return processes


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _rank(process: psutil.Process) -> str | None:
    try:
        environ = process.environ()
    except psutil.Error:
        return None
    return environ.get("PMI_RANK") or environ.get("OMPI_COMM_WORLD_RANK")


def _is_serve(process: psutil.Process) -> bool:
    words = _words(process)
    return "serve" in words and "--die-with-parent" in words and "python" in words[0]


def _is_mpirun(process: psutil.Process) -> bool:
    words = _words(process)
    return bool(words) and Path(words[0]).name == "mpirun"


def _is_server(process: psutil.Process) -> bool:
    return any("engine.xllamacpp" in word for word in _words(process))


VICTIMS: dict[str, Callable[[psutil.Process], bool]] = {
    "mls serve": _is_serve,
    "mpirun": _is_mpirun,
    "rank 0": lambda process: _rank(process) == "0",
    "rank 1": lambda process: _rank(process) == "1",
    "server": _is_server,
}
"""Targets beside the first process of a trial → whether a process is it. Rank 1 is the worker."""


@dataclass(frozen=True)
class Trial:
    """The outcome of one blow: a sentence for each thing that is not as it must be."""

    target: str
    signal: str
    at: float
    """Moment of the blow, as a share of the target's life in an undisturbed run."""
    orphans: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Arena:
    """A folder with one finished repeat, and the means to measure a second one.

    whole: whether Snakemake measures it, tables and page included; else the command that Snakemake
    would start for it does.
    """

    def __init__(self, folder: Path, model_file: Path, whole: bool) -> None:
        self.folder, self.whole = folder, whole
        self.root = "snakemake" if whole else "mls serve"
        self.runs = folder / "results" / "runs" / "name~chaos" / CELL
        self.second = self.runs / "repeat~2"
        self._number = 0
        config = {
            "name": "chaos",
            "models": {"smollm2": {"path": str(model_file)}},
            # one thread: two threads on shared cores wait for each other
            "server": {"parallel": 2, "ctx": 1024, "threads": 1},
            "environment": {"manager": "current"},
            "run": {
                "endpoint": "/v1/completions",
                "iters": _REQUESTS,
                "max_tokens": 3,
                "prompt_words": 4,
                "warmup": 1,
                "inflight": 2,
                "ranks": 2,
            },
        }
        folder.mkdir(parents=True)
        self._config = config
        self._write(repeats=2)
        if not whole:
            self._model()
        first = str((self.runs / "repeat~1" / "run.json").relative_to(folder))
        # tables and page are made with the second repeat
        status, output = self.call(1, *(["--", first] if whole else []))
        if status:
            raise RuntimeError(output)
        self.life = self._lives()
        self.first_contents = contents(self.runs / "repeat~1")
        self.shape = shape(self.second)

    def command(self, repeat: int) -> list[str]:
        """The command that measures this repeat."""
        if self.whole:
            self._write(repeats=repeat)
            where = ["--directory", str(self.folder), "--configfile", f"{self.folder}/config.yaml"]
            return ["snakemake", "--snakefile", f"{ROOT}/Snakefile", "--cores", "2", *where]
        options = ["--config", "config.yaml", "--cell", "model=smollm2", "--repeat", str(repeat)]
        options += ["--output", str(self.runs / f"repeat~{repeat}")]
        serve = [sys.executable, "-m", "mls", "serve", "--die-with-parent", *options]
        worker = ["mpirun", "-n", "2", sys.executable, "-m", "mpi4py", "-m", "mls.worker", *options]
        return [*serve, "--log", f"server-{repeat}.log", "--", *worker]

    @contextlib.contextmanager
    def running(self, repeat: int, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """(first process of a measurement, mark of all its processes); none outlives the context.

        Their output goes to `<mark>.log`.
        """
        self._number += 1
        mark = f"{os.getpid()}-{id(self)}-{self._number}"
        path = os.pathsep.join([str(ROOT / "workflow"), str(ROOT)])
        with (self.folder / f"{mark}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.command(repeat), *options],
                cwd=self.folder,
                env=os.environ | {_MARK: mark, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process, mark
        finally:
            for survivor in processes_with(mark):
                with contextlib.suppress(psutil.NoSuchProcess):
                    survivor.kill()
            process.wait()

    def call(self, repeat: int, *options: str) -> tuple[int, str]:
        """Exit status and output of an undisturbed measurement."""
        with self.running(repeat, *options) as (process, mark):
            status = process.wait(_LONGEST_S)
        return status, (self.folder / f"{mark}.log").read_text(errors="replace")

    def strike(self, target: str, sig: signal.Signals, random_: random.Random) -> Trial:
        """Measure the second repeat, and strike one of its processes at a random moment."""
        while True:
            shutil.rmtree(self.second, ignore_errors=True)
            at = random_.random()
            with self.running(2) as (process, mark):
                if not self._strike_process(process, mark, target, sig, at):
                    continue  # the target had ended before the blow: draw another moment
                orphans = _survivors(process, mark)
            return Trial(target, sig.name, at, orphans, self.lost_files(), self.differences())

    def again(self) -> list[str]:
        """Sentences on faults of the next call, which must measure what is missing, and no more."""
        has_result = (self.second / "run.json").exists() and not self._is_incomplete()
        before = contents(self.second) if has_result else {}
        if self.whole or not has_result:
            status, output = self.call(2)
            if status:
                return [f"the next call ended with exit status {status}: {output}"]
        if has_result and contents(self.second) != before:
            return ["the next call measured again what was there"]
        return self.lost_files() + self.differences(required=True)

    def _is_incomplete(self) -> bool:
        """Whether Snakemake died before it knew how the second repeat's job ended.

        The result may exist then, but the repeat is measured again: Snakemake has no record of its
        inputs, by which it would later see that the result is stale.
        """
        name = str((self.second / "run.json").relative_to(self.folder))
        mark = base64.urlsafe_b64encode(name.encode()).decode()
        return (self.folder / ".snakemake" / "incomplete" / mark).exists()

    def lost_files(self) -> list[str]:
        """Names of files of the finished repeat that have changed, appeared or disappeared."""
        files = contents(self.runs / "repeat~1")
        return [
            name
            for name in {*files, *self.first_contents}
            if files.get(name) != self.first_contents.get(name)
        ]

    def differences(self, required: bool = False) -> list[str]:
        """Differences of the second repeat's result from an undisturbed one's.

        required: whether a missing result is one, too.
        """
        if not (self.second / "run.json").exists():
            return ["there is no result"] if required else []
        try:
            traits = shape(self.second)
        except (OSError, ValueError) as error:
            return [f"it can't be read: {error}"]
        return sorted({*traits, *self.shape} - {*traits} & {*self.shape})

    def _strike_process(
        self,
        process: subprocess.Popen[bytes],
        mark: str,
        target: str,
        sig: signal.Signals,
        at: float,
    ) -> bool:
        appears, ends = self.life[target]
        if target == self.root:
            time.sleep(at * ends)
            if process.poll() is not None:
                return False
            if sig == signal.SIGINT:  # Ctrl-C goes to all in the foreground
                os.killpg(process.pid, sig)
            else:
                process.send_signal(sig)
            return True
        while process.poll() is None:
            victims = [p for p in processes_with(mark) if VICTIMS[target](p)]
            if victims:
                time.sleep(at * (ends - appears))
                with contextlib.suppress(psutil.NoSuchProcess):
                    victims[0].send_signal(sig)
                    return True
                return False
            time.sleep(_LOOK_S)
        return False

    def _lives(self) -> dict[str, tuple[float, float]]:
        """When each target appears and ends in an undisturbed run, in s from its start."""
        begin_s = time.monotonic()
        life: dict[str, tuple[float, float]] = {}
        with self.running(2) as (process, mark):
            while process.poll() is None:
                now = time.monotonic() - begin_s
                for other in processes_with(mark):
                    for target, matches in VICTIMS.items():
                        if matches(other):
                            life[target] = (life.get(target, (now, now))[0], now)
                time.sleep(_LOOK_S)
            if process.returncode:
                raise RuntimeError((self.folder / f"{mark}.log").read_text(errors="replace"))
        return life | {self.root: (0.0, time.monotonic() - begin_s)}

    def _write(self, repeats: int) -> None:
        """Write the config of a sweep of so many repeats: one file, to which its name belongs."""
        text = yaml.safe_dump(self._config | {"repeats": repeats}, sort_keys=False)
        (self.folder / "config.yaml").write_text(text)

    def _model(self) -> None:
        model_file = self.folder / "results" / "models" / "smollm2.json"
        command = [sys.executable, "-m", "mls", "model", "smollm2", "--config", "config.yaml"]
        env = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
        subprocess.run([*command, "--output", model_file], cwd=self.folder, env=env, check=True)


def _survivors(process: subprocess.Popen[bytes], mark: str) -> list[str]:
    """Processes that run on: the first one after _ENDS_S, or others ORPHAN_S after its end."""
    try:
        process.wait(_ENDS_S)
    except subprocess.TimeoutExpired:
        return [f"still running: {' '.join(_words(psutil.Process(process.pid)))}"]
    until = time.monotonic() + ORPHAN_S
    while (survivors := processes_with(mark)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return [f"{p.pid} {' '.join(_words(p))}" for p in survivors]


def contents(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of each file of a repeat."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def shape(folder: Path) -> set[str]:
    """What two repeats of one cell have in common: files, keys, columns, jobs and their digests."""
    result = json.loads((folder / "run.json").read_text())
    table = pq.read_table(folder / "requests.parquet")
    digests = contents(folder)
    mismatches = [name for name, digest in result["files"].items() if digests.get(name) != digest]
    return {
        *(f"file {name}" for name in digests),
        *(f"key {path}" for path in _paths(result)),
        *(f"column {column.name} {column.type}" for column in table.schema),
        f"jobs {sorted(table['job'].to_pylist())}",
        f"ok {result['summary']['requests']['ok']}",
        *(f"{name} is not as run.json says" for name in mismatches),
    }


def _paths(data: Any, at: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _paths(value, f"{at}.{key}")
    else:
        yield at
