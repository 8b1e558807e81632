"""One blow at one process of the pipeline at a random moment, and what is there afterwards.

Processes are found by a mark in their environment, which they hand on to all that they start: so
none is overlooked, however short it lived or whoever adopted it.
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
"""What was started must have ended so long after the first of it."""

_MARK = "MLS_CHAOS"
_LOOK_S = 0.05
_LONGEST_S = 600
_ENDS_S = 120
"""A struck measurement ends so soon: well before the requests' own time limit would end it."""
_REQUESTS = 4
CELL = "model~smollm2/inflight~2/ranks~2"


def marked(mark: str) -> list[psutil.Process]:
    """All living processes of one trial; a zombie has no environment any more."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if f"{_MARK}={mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(psutil.Process(pid))
    return found


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
"""What is struck beside the first process of all; rank 1 is the one that works."""


@dataclass(frozen=True)
class Trial:
    """What came of one blow. Sentences where something is not as it must be."""

    target: str
    signal: str
    at: float
    """When it was struck, as a share of the target's life in an undisturbed run."""
    orphans: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Arena:
    """A folder with one finished repeat, and how to measure a second one.

    whole: by Snakemake, with all that comes after; else by what Snakemake would start for it.
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
            # one thread: two that share cores with others wait for each other
            "server": {"parallel": 2, "ctx": 1024, "threads": 1},
            "environment": {"manager": "current"},
            "run": {
                "iters": _REQUESTS,
                "max_tokens": 4,
                "prompt_words": 4,
                "warmup": 1,
                "inflight": 2,
                "ranks": 2,
            },
        }
        folder.mkdir(parents=True)
        for repeats in (1, 2):
            text = yaml.safe_dump(config | {"repeats": repeats}, sort_keys=False)
            (folder / f"{repeats}.yaml").write_text(text)
        if not whole:
            self._model()
        status, printed = self.call(1)
        if status:
            raise RuntimeError(printed)
        self.life = self._lives()
        self.kept = contents(self.runs / "repeat~1")
        self.shape = shape(self.second)

    def command(self, repeat: int) -> list[str]:
        """What measures this repeat."""
        if self.whole:
            where = [
                "--directory",
                str(self.folder),
                "--configfile",
                f"{self.folder}/{repeat}.yaml",
            ]
            return ["snakemake", "--snakefile", f"{ROOT}/Snakefile", "--cores", "2", *where]
        options = ["--config", "2.yaml", "--cell", "model=smollm2", "--repeat", str(repeat)]
        options += ["--output", str(self.runs / f"repeat~{repeat}")]
        serve = [sys.executable, "-m", "mls", "serve", "--die-with-parent", *options]
        worker = ["mpirun", "-n", "2", sys.executable, "-m", "mpi4py", "-m", "mls.worker", *options]
        return [*serve, "--log", f"server-{repeat}.log", "--", *worker]

    @contextlib.contextmanager
    def running(self, repeat: int, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """(the first process of a measurement, the mark of all of them); none outlives it.

        What they print goes to `<mark>.log`.
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
            for left in marked(mark):
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
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
                if not self._struck(process, mark, target, sig, at):
                    continue  # the target had ended before: draw another moment
                orphans = _left(process, mark)
            return Trial(target, sig.name, at, orphans, self.lost(), self.wrong())

    def again(self) -> list[str]:
        """The next call: it must measure what is missing and nothing else. What is wrong with it."""
        there = (self.second / "run.json").exists() and not self._cut_short()
        before = contents(self.second) if there else {}
        if self.whole or not there:
            status, printed = self.call(2)
            if status:
                return [f"the next call ended with exit status {status}: {printed}"]
        if there and contents(self.second) != before:
            return ["the next call measured again what was there"]
        return self.lost() + self.wrong(finished=True)

    def _cut_short(self) -> bool:
        """Whether Snakemake died before it knew how the second repeat's job ended.

        The result may be there then, but it is measured again: Snakemake has no record of what it
        was made from, by which it would see later that it is stale.
        """
        name = str((self.second / "run.json").relative_to(self.folder))
        mark = base64.urlsafe_b64encode(name.encode()).decode()
        return (self.folder / ".snakemake" / "incomplete" / mark).exists()

    def lost(self) -> list[str]:
        """What is no more as it was in the repeat that had been finished."""
        found = contents(self.runs / "repeat~1")
        return [name for name in {*found, *self.kept} if found.get(name) != self.kept.get(name)]

    def wrong(self, finished: bool = False) -> list[str]:
        """How the second repeat differs from an undisturbed one, if it has a result."""
        if not (self.second / "run.json").exists():
            return ["there is no result"] if finished else []
        try:
            found = shape(self.second)
        except (OSError, ValueError) as error:
            return [f"it can't be read: {error}"]
        return sorted({*found, *self.shape} - {*found} & {*self.shape})

    def _struck(
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
            victims = [p for p in marked(mark) if VICTIMS[target](p)]
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
        began = time.monotonic()
        life: dict[str, tuple[float, float]] = {}
        with self.running(2) as (process, mark):
            while process.poll() is None:
                now = time.monotonic() - began
                for other in marked(mark):
                    for target, is_it in VICTIMS.items():
                        if is_it(other):
                            life[target] = (life.get(target, (now, now))[0], now)
                time.sleep(_LOOK_S)
            if process.returncode:
                raise RuntimeError((self.folder / f"{mark}.log").read_text(errors="replace"))
        return life | {self.root: (0.0, time.monotonic() - began)}

    def _model(self) -> None:
        described = self.folder / "results" / "models" / "smollm2.json"
        command = [sys.executable, "-m", "mls", "model", "smollm2", "--config", "1.yaml"]
        env = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
        subprocess.run([*command, "--output", described], cwd=self.folder, env=env, check=True)


def _left(process: subprocess.Popen[bytes], mark: str) -> list[str]:
    """What has not ended: the first process for long, or another of them soon after it."""
    try:
        process.wait(_ENDS_S)
    except subprocess.TimeoutExpired:
        return [f"still running: {' '.join(_words(psutil.Process(process.pid)))}"]
    until = time.monotonic() + ORPHAN_S
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return [f"{p.pid} {' '.join(_words(p))}" for p in left]


def contents(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of each file of a repeat."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def shape(folder: Path) -> set[str]:
    """What two repeats of one cell have in common: files, keys, columns, jobs and their digests."""
    told = json.loads((folder / "run.json").read_text())
    table = pq.read_table(folder / "requests.parquet")
    digests = contents(folder)
    changed = [name for name, digest in told["files"].items() if digests.get(name) != digest]
    return {
        *(f"file {name}" for name in digests),
        *(f"key {path}" for path in _paths(told)),
        *(f"column {column.name} {column.type}" for column in table.schema),
        f"jobs {sorted(table['job'].to_pylist())}",
        f"ok {told['summary']['requests']['ok']}",
        *(f"{name} is not as run.json says" for name in changed),
    }


def _paths(data: Any, at: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _paths(value, f"{at}.{key}")
    else:
        yield at
