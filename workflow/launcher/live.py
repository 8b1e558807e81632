"""A live view in a terminal: stages, the cells with their figures, the repeat that is running."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from launcher.lines import MARKS
from launcher.sweep import Repeat, Sweep
from mls.core.units import duration

REFRESH_S = 1.0
"""It is drawn beside a measurement: no more often."""

_COLOURS = {"pass": "green", "unknown": "yellow", "warn": "yellow", "fail": "red"}
_STATES = {"waiting": ("·", "dim"), "running": ("▸", "cyan"), "failed": ("✗", "red")}
_HANDED_OUT = re.compile(r"mls run: (\d+)( of \d+)? requests handed out")
_TAIL_BYTES = 400
_LINES_BESIDE = 6


class Live:
    """Draws on standard error, once a second while a repeat is running."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._stages: list[str] = []
        self._sweep: Sweep | None = None
        self._repeat: Repeat | None = None
        self._log: Path | None = None
        self._expected_s: float | None = None
        # what changes only as repeats begin and end
        self._grid: Table | None = None
        self._count = ""
        self._running = ""
        self._waiting_s: float | None = None
        self._live = RichLive(console=self._console, auto_refresh=False)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock: threading.Thread | None = None

    def stage(self, text: str) -> None:
        """Add a stage below those before it, and mark these as done."""
        self._stages.append(text)
        self._draw()

    def begin(self, sweep: Sweep, repeat: Repeat, log: Path) -> None:
        """Show the repeat as running."""
        self._sweep, self._repeat, self._log = sweep, repeat, log
        self._expected_s = sweep.expected_s(repeat)
        self._sum_up(sweep)
        self._draw()

    def end(self, sweep: Sweep, repeat: Repeat) -> None:
        """Show what the repeat gave."""
        self._repeat = None
        self._sum_up(sweep)
        self._draw()

    def say(self, text: str) -> None:
        """Print a text, above the view while there is one."""
        self._console.print(Text(text))

    def stop(self) -> None:
        """Draw for the last time, and leave that where it is."""
        self._over.set()
        if self._clock:
            self._clock.join()
            self._live.update(self._view())
            self._live.stop()

    def _sum_up(self, sweep: Sweep) -> None:
        """Work out what stays the same until the next repeat begins or ends."""
        with self._lock:
            self._grid = self._table(sweep)
            failed = sweep.count("failed")
            self._count = f"{sweep.count('ok') + failed} of {len(sweep.repeats)} repeats"
            self._count += f", {failed} failed" if failed else ""
            self._waiting_s = sweep.waiting_s()
            repeat = self._repeat
            self._running = f"; {sweep.label(repeat)}, repeat {repeat.number}" if repeat else ""

    def _draw(self) -> None:
        if not self._clock:
            self._live.start()
            self._clock = threading.Thread(target=self._tick, daemon=True)
            self._clock.start()
        with self._lock:
            self._live.update(self._view(), refresh=True)

    def _tick(self) -> None:
        while not self._over.wait(REFRESH_S):
            if self._repeat:
                with self._lock:
                    self._live.update(self._view(), refresh=True)

    def _view(self) -> Group:
        parts: list[Text | Table] = [
            Text(f"✓ {stage}", style="dim") for stage in self._stages[-4:-1]
        ]
        parts += [Text(f"{'✓' if self._sweep else '▸'} {stage}") for stage in self._stages[-1:]]
        if self._grid:
            parts += [self._grid, self._now()]
        return Group(*parts)

    def _table(self, sweep: Sweep) -> Table:
        """A row a cell: a mark for each repeat, and the figures of the last one that ended."""
        table = Table.grid(padding=(0, 2))
        cells = [*sweep.cells().items()]
        room = max(3, self._console.height - _LINES_BESIDE - len(self._stages[-4:]))
        at = next((i for i, (_, each) in enumerate(cells) if self._repeat in each), 0)
        first = max(0, min(at - room // 2, len(cells) - room))
        for label, repeats in cells[first : first + room]:
            ended = [r.figures for r in repeats if r.state == "ok" and r.figures]
            table.add_row(
                Text(label),
                Text.assemble(*(_mark(repeat) for repeat in repeats)),
                Text(ended[-1].throughput if ended else "", justify="right"),
                Text(f"p95 {ended[-1].p95}" if ended else "", justify="right"),
            )
        if len(cells) > room:
            table.add_row(Text(f"… {len(cells) - room} more cells", style="dim"))
        return table

    def _now(self) -> Text:
        """How many repeats have ended, what is running, and the time that is left."""
        text, left = self._count + self._running, self._waiting_s
        if self._repeat:
            so_far = self._repeat.so_far_s
            text += f": {duration(so_far)}"
            if self._expected_s:
                text += f" of about {duration(self._expected_s)}"
                left = (left or 0.0) + max(0.0, self._expected_s - so_far)
            text += _handed_out(self._log)
        return Text(text + (f"; about {duration(left)} left" if left else ""), style="bold")


def _mark(repeat: Repeat) -> tuple[str, str]:
    """A sign and its colour: the verdict of a repeat with a result, else its state."""
    if repeat.state == "ok" and repeat.figures:
        return MARKS[repeat.figures.verdict], _COLOURS[repeat.figures.verdict]
    return _STATES.get(repeat.state, _STATES["waiting"])


def _handed_out(log: Path | None) -> str:
    """How many requests rank 0 has handed out, as it says in its log every ten seconds."""
    try:
        with (log or Path()).open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            matches = [*_HANDED_OUT.finditer(stream.read().decode(errors="replace"))]
    except OSError:
        return ""
    return f", {matches[-1][1]}{matches[-1][2] or ''} requests" if matches else ""
