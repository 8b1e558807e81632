"""The page of a sweep that is still measured, made anew between two measurements."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from launcher.failures import MEASURES
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.run_folder import RUN
from mls.host.processes.descendants import end_tree

SHARE = 0.05
"""The most time that a page is expected to take, as a share of that of measuring since the last."""

_FIRST_S, _EACH_S = 5.0, 0.05
"""What the first page is expected to take, and what each repeat adds (benchmarks/analysis.py)."""

_REPLACES = "latest"
"""The rule after which no page of the sweep so far is left."""


class PageSoFar(logging.Filter):
    """Has the page made when a block of repeats has ended, before the next measurement begins.

    It goes by the records of Snakemake's logger, which says that a job begins just before it starts
    it, and waits for its filters. Filters come before all handlers, so a view sees the measurement
    begin when it does. No record is held back.
    """

    def __init__(self, command: str, runs: Path, log: Path, stop: Path) -> None:
        """command: of the shell; makes the page. runs: folder of the sweep's runs.

        stop: the file by whose text the workflow tells that tables and page aren't what a rule made.
        It gets another one with the first page.
        """
        super().__init__()
        self._command = command
        self._runs = runs
        self._log = log
        self._stop = stop
        self._stop_before = stop.read_text() if stop.exists() else None
        self._running: set[int] = set()
        self._block: Any = None
        self._since_s: float | None = None
        self._last: tuple[float, int] | None = None
        self._left_over = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a record. Raises `KeyboardInterrupt` when this process is to end meanwhile."""
        try:
            self._see(record.__dict__)
        except Exception as error:  # whatever it is, no measurement must fail of it
            logger = logging.getLogger(record.name)
            logger.warning("The page of the sweep so far could not be made: %s", error)
        return True

    def settle(self) -> None:
        """Take back the new text of `stop`, if the rules have made tables and page since."""
        if self._last is None or self._left_over:
            return
        with contextlib.suppress(OSError, UserError):  # then they are made once more
            if self._stop_before is None:
                self._stop.unlink(missing_ok=True)
            else:
                write(self._stop, self._stop_before)

    def _see(self, fields: Mapping[str, Any]) -> None:
        event = fields.get("event")
        if event == LogEvent.JOB_FINISHED:
            self._running.discard(fields["job_id"])
        elif event == LogEvent.JOB_ERROR:
            self._running.discard(fields["jobid"])
        elif event == LogEvent.JOB_INFO and fields["rule_name"] == _REPLACES:
            self._left_over = False
        elif event == LogEvent.JOB_INFO and fields["rule_name"] in MEASURES:
            alone = not self._running
            self._running.add(fields["jobid"])
            if self._begins_block(fields) and alone:
                self._renew()

    def _begins_block(self, fields: Mapping[str, Any]) -> bool:
        """Whether this measurement is the first one after a block, of which there was one.

        A block has one repeat of each cell, or all repeats of one cell that share a server.
        """
        block = fields["wildcards"].get("repeat", fields["jobid"])
        before, self._block = self._block, block
        if before is None:
            self._since_s = time.monotonic()
        return before not in (None, block)

    def _renew(self) -> None:
        """Make the page, if there is anything to show and the time of measuring allows for it."""
        results = sum(1 for _ in self._runs.rglob(RUN))
        allowed_s = SHARE * (time.monotonic() - (self._since_s or 0.0))
        if not results or self._expected_s(results) > allowed_s:
            return
        begin_s = time.monotonic()
        if self._last is None:
            write(self._stop, f"{datetime.now(UTC).isoformat()}\n")
        self._left_over = True
        try:
            self._make(2 * allowed_s)
        finally:
            self._since_s = time.monotonic()
            self._last = (self._since_s - begin_s, results)

    def _expected_s(self, results: int) -> float:
        """How long the page takes, by the one before."""
        if self._last is None:
            return _FIRST_S + _EACH_S * results
        took_s, results_then = self._last
        return took_s * max(1.0, results / results_then)

    def _make(self, limit_s: float) -> None:
        """Run the command, and end it after this time."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # nothing is running for which Snakemake's own handler would wait
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with self._log.open("w") as log:
                process = subprocess.Popen(
                    ["bash", "-c", self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                try:
                    process.wait(limit_s)
                except subprocess.TimeoutExpired:
                    log.write(f"Ended after {limit_s:.0f} s, as measuring has to go on.\n")
                finally:
                    end_tree(process.pid)
        finally:
            signal.signal(signal.SIGTERM, before)
