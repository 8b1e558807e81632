"""A sweep while it runs: its repeats as they end, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mls.core.files import read_json
from mls.core.run_folder import RUN
from mls.report.text.numbers import milliseconds, number

WORSE = ("pass", "unknown", "warn", "fail")
"""Verdicts, the worst last."""

State = Literal["waiting", "running", "ok", "failed"]
Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Figures:
    """What a repeat gave: throughput and p95 latency as texts, verdict, checks that failed."""

    throughput: str
    p95: str
    verdict: str
    failed_checks: str


@dataclass
class Repeat:
    """One repeat of a cell. folder: of its `run.json`."""

    cell: Cell
    number: int
    folder: Path
    state: State = "waiting"
    took_s: float | None = None
    _began: float = 0.0

    def begin(self) -> None:
        """Note that its job has been started."""
        self.state, self._began = "running", time.monotonic()

    def end(self, failed: bool) -> None:
        """Note that its job has ended."""
        self.took_s = self.so_far_s
        self.state = "failed" if failed else "ok"

    @property
    def so_far_s(self) -> float:
        """Seconds since its job was started."""
        return time.monotonic() - self._began

    @cached_property
    def figures(self) -> Figures | None:
        """By `run.json`, once it has ended; None when there is none."""
        result = read_json(self.folder / RUN)
        return _figures(result) if result else None


@dataclass
class Sweep:
    """All planned repeats, in the order of the sweep, by the folder of each."""

    name: str
    page: Path
    latest: Path
    """Its copy, which the next sweep that has results replaces."""
    answer: Path
    repeats: dict[Path, Repeat] = field(default_factory=dict)

    def add(self, cell: Cell, number: int, folder: Path) -> Repeat:
        """The repeat with this folder, which is new unless it was added before."""
        state: State = "ok" if (folder / RUN).exists() else "waiting"
        return self.repeats.setdefault(folder, Repeat(cell, number, folder, state))

    def count(self, *states: State) -> int:
        """Number of the repeats that are in one of these states."""
        return sum(repeat.state in states for repeat in self.repeats.values())

    def cells(self) -> dict[str, list[Repeat]]:
        """The repeats of each cell, by its label: the axes that tell cells apart."""
        names = self._naming()
        cells: dict[str, list[Repeat]] = {}
        for repeat in self.repeats.values():
            cells.setdefault(_label(repeat.cell, names), []).append(repeat)
        return cells

    def label(self, repeat: Repeat) -> str:
        """The label of a repeat's cell."""
        return _label(repeat.cell, self._naming())

    def waiting_s(self) -> float | None:
        """How long the repeats take that have not been started, by those that have ended in this
        call: of the same cell, else all of them. None before any has.
        """
        waiting = [repeat for repeat in self.repeats.values() if repeat.state == "waiting"]
        times, whole = self._times()
        if waiting and whole is None:
            return None
        return sum(times.get(str(repeat.cell), whole or 0.0) for repeat in waiting)

    def expected_s(self, repeat: Repeat) -> float | None:
        """How long a repeat takes, likewise."""
        times, whole = self._times()
        return times.get(str(repeat.cell), whole)

    def _times(self) -> tuple[dict[str, float], float | None]:
        """The mean time of the repeats of each cell, and of all."""
        each: dict[str, list[float]] = {}
        for repeat in self.repeats.values():
            if repeat.took_s and repeat.state == "ok":
                each.setdefault(str(repeat.cell), []).append(repeat.took_s)
        every = [took_s for times in each.values() for took_s in times]
        means = {cell: sum(times) / len(times) for cell, times in each.items()}
        return means, sum(every) / len(every) if every else None

    def _naming(self) -> list[str]:
        values: dict[str, set[str]] = {}
        for repeat in self.repeats.values():
            for axis, value in repeat.cell.items():
                values.setdefault(axis, set()).add(str(value))
        return [axis for axis, each in values.items() if len(each) > 1] or ["inflight"]


def _label(cell: Cell, names: list[str]) -> str:
    return ", ".join(
        f"{name} {cell[name]}" if name != "model" else str(cell[name]) for name in names
    )


def _figures(result: Mapping[str, Any]) -> Figures:
    verdicts = result["verdicts"]
    return Figures(
        throughput=_throughput(result["summary"]),
        p95=milliseconds((result["summary"]["latency_ms"] or {}).get("p95")),
        verdict=max((v["status"] for v in verdicts), key=WORSE.index, default="unknown"),
        failed_checks=", ".join(v["check"] for v in verdicts if v["status"] == "fail"),
    )


def _throughput(summary: Mapping[str, Any]) -> str:
    """In the window or else of the whole run; requests/s from a server that doesn't count tokens."""
    for key, unit in (("completion_tokens_per_s", "tokens/s"), ("requests_per_s", "requests/s")):
        for rates in (summary["throughput"], summary["overall"]):
            if rates.get(key) is not None:
                return f"{number(rates[key])} {unit}"
    return "–"
