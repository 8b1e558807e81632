"""How far a run is, on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from mls.config.sections.run import Run

_EVERY_S = 10
_EVERY_ON_TERMINAL_S = 0.5


class Progress:
    """Progress on standard error: a live line on a terminal, else a line every ten seconds."""

    def __init__(self, run: Run, is_reporter: bool) -> None:
        self._run = run
        self._is_visible = is_reporter and run.ranks > 1
        self._live = self._is_visible and sys.stderr.isatty()
        self._every_s = _EVERY_ON_TERMINAL_S if self._live else _EVERY_S
        self._last = time.monotonic()
        self._stack = contextlib.ExitStack()
        self._tell: Callable[[int], None] = self._print

    def __enter__(self) -> Progress:
        if self._live:
            self._tell = self._draw_bar()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, handed_out: int) -> None:
        now = time.monotonic()
        # With fixed shares rank 0 has no count
        if handed_out and self._is_visible and now - self._last > self._every_s:
            self._tell(handed_out)
            self._last = now

    def _print(self, handed_out: int) -> None:
        of = f" of {self._run.requests}" if self._run.requests else ""
        print(f"mls run: {handed_out}{of} requests handed out", file=sys.stderr, flush=True)

    def _draw_bar(self) -> Callable[[int], None]:
        """Draw a bar until the end. Returns the function that moves it."""
        from rich import progress  # Most runs have no terminal
        from rich.console import Console

        bar = progress.Progress(
            progress.TextColumn(f"inflight {self._run.inflight}, ranks {self._run.ranks}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
        )
        self._stack.enter_context(bar)
        task = bar.add_task("requests", total=self._run.requests)
        return lambda handed_out: bar.update(task, completed=handed_out, refresh=True)
