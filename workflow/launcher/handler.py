"""The logger plugin: what Snakemake does, as a person wants to see it. Its own log has the rest."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from launcher.failures import END, SWEEP, repeat_folders
from launcher.lines import Lines
from launcher.live import Live
from launcher.measurement import Measurement
from launcher.sweep import Sweep
from mls.core.files import unwritable
from mls.host.text import one_line

NOTHING_TO_DO = "Nothing to be done"
_OS_ERROR = re.compile(r"\w*Error: \[Errno (\d+)\] (?:.*?): '(.*)'")
_MOST_LINES = 6
_LOOK_EVERY_S = 1.0


class LogHandler(LogHandlerBase):
    """Shows stages and repeats by a view, and at the end what came of the sweep."""

    def __post_init__(self) -> None:
        self._view = Lines() if _lines_wanted(self.common_settings.verbose) else Live()
        self._sweep: Sweep | None = None
        self._jobs: dict[int, Measurement] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watch: threading.Thread | None = None
        self._end = ""
        self._error = ""
        self._succeeded = self._closed = False
        handlers: dict[LogEvent | None, Callable[[logging.LogRecord], None]] = {
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
            LogEvent.ERROR: self._snakemake_error,
            None: self._other,
        }
        self._handlers = handlers

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, in the one thread that Snakemake has for its plugins."""
        if not self.common_settings.dryrun:
            try:
                with self._lock:
                    self._handlers.get(getattr(record, "event", None), _ignore)(record)
            except Exception:
                self.handleError(record)

    def close(self) -> None:
        """End the view and say what came of it, the reason of a failure last."""
        if self._closed:  # by Snakemake, and by Python as it exits
            return
        self._closed = True
        self._over.set()
        if self._watch:
            self._watch.join()
        self._view.stop()
        if self._end or self._error:
            print(self._end or self._error, file=sys.stderr, flush=True)
        elif self._succeeded and self._sweep:
            self._view.say(f"\n{_text(self._sweep.answer)}")
            self._view.say(f"Page: {self._sweep.latest}, which stays as {self._sweep.page}")
        super().close()

    def _other(self, record: logging.LogRecord) -> None:
        fields = record.__dict__
        if SWEEP in fields:
            self._sweep = fields[SWEEP]
        elif END in fields:
            self._end = record.getMessage()
        elif str(record.msg).startswith(NOTHING_TO_DO):
            self._view.say("Nothing to do: every planned repeat has been measured.")
            self._succeeded = True

    def _job_info(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = record.__dict__
        folders = repeat_folders(fields)
        if folders and self._sweep:
            cell = {k: v for k, v in fields["wildcards"].items() if k not in ("name", "repeat")}
            repeats = [
                self._sweep.add(cell, int(folder.name.removeprefix("repeat~")), folder)
                for folder in folders
            ]
            job = Measurement(repeats, Path(fields["log"][0]))
            self._jobs[fields["jobid"]] = job
            self._view.begin(self._sweep, job.repeat, job.log)
            if len(repeats) > 1 and not self._watch:
                self._watch = threading.Thread(target=self._look, daemon=True)
                self._watch.start()
        elif fields["rule_msg"]:
            self._view.stage(fields["rule_msg"])
        elif fields["rule_name"] in ("all", "default"):
            self._succeeded = True

    def _job_finished(self, record: logging.LogRecord) -> None:
        self._ended(record.__dict__["job_id"], failed=False)

    def _job_error(self, record: logging.LogRecord) -> None:
        self._ended(record.__dict__["jobid"], failed=True)

    def _ended(self, job_id: int, failed: bool) -> None:
        job = self._jobs.pop(job_id, None)
        while job and self._sweep and not job.is_over:
            self._view.end(self._sweep, job.end_repeat(failed))

    def _look(self) -> None:
        """See which repeat of a cell is being measured, as Snakemake has no record of that."""
        while not self._over.wait(_LOOK_EVERY_S):
            with self._lock:
                for job in self._jobs.values():
                    while self._sweep and job.has_moved_on():
                        self._view.end(self._sweep, job.end_repeat())
                        self._view.begin(self._sweep, job.repeat, job.log)

    def _snakemake_error(self, record: logging.LogRecord) -> None:
        self._error = snakemake_error(record.getMessage())


def snakemake_error(text: str) -> str:
    """What stopped Snakemake itself, without its tracebacks."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and (match := _OS_ERROR.fullmatch(lines[-1].strip())):
        number, path = int(match[1]), Path(match[2])
        return str(unwritable(path, OSError(number, os.strerror(number))))
    if str(ENOSPC) in text and os.strerror(ENOSPC) in text:
        return f"{os.strerror(ENOSPC)}: free some space and run it again."
    if "Traceback" in text:
        lines = lines[-1:]
    return "\n".join(
        [*map(one_line, lines[-_MOST_LINES:]), "More is in the newest file of .snakemake/log."]
    )


def _lines_wanted(verbose: bool) -> bool:
    """Whether a line for each repeat is wanted, and no live view."""
    return (
        verbose
        or not sys.stderr.isatty()
        or bool(os.environ.get("CI"))
        or os.environ.get("TERM") == "dumb"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _ignore(record: logging.LogRecord) -> None:
    """For records that nobody needs to see."""
