"""Plain lines: one for each stage, one for each repeat that ended."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.sweep import Repeat, Sweep
from mls.core.units import duration

MARKS = {"pass": "✓", "unknown": "?", "warn": "!", "fail": "✗"}


class Lines:
    """Prints on standard error, where there is no terminal or where lines are wanted."""

    def stage(self, text: str) -> None:
        """Say which stage has begun."""
        self.say(text)

    def begin(self, sweep: Sweep, repeat: Repeat, log: Path) -> None:
        """Nothing: a repeat has its line when it ends."""

    def end(self, sweep: Sweep, repeat: Repeat) -> None:
        """Say what the repeat gave, how many have ended, and how long the others will take."""
        ended, planned = sweep.count("ok", "failed"), len(sweep.repeats)
        left = sweep.waiting_s()
        time_left = f", about {duration(left)} left" if left and ended < planned else ""
        self.say(f"{repeat_line(sweep, repeat)}  ({ended} of {planned}{time_left})")

    def say(self, text: str) -> None:
        """Print a text."""
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Nothing: no line is ever taken back."""


def repeat_line(sweep: Sweep, repeat: Repeat) -> str:
    """A repeat that has ended: which, its figures, its worst verdict and the checks that failed."""
    who = f"{sweep.label(repeat)}, repeat {repeat.number}"
    figures = repeat.figures
    if repeat.state == "failed" or not figures:
        return f"{MARKS['fail']} {who}: failed"
    checks = f"; failed: {figures.failed_checks}" if figures.failed_checks else ""
    return f"{MARKS[figures.verdict]} {who}: {figures.throughput}, p95 {figures.p95}{checks}"
