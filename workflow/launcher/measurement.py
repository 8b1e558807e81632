"""A job that measures repeats: one, or all of a cell one after another."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.sweep import Repeat
from mls.core.run_folder import KEPT, RUN

_BEGINS = re.compile(r"^mls cell: repeat (\d+) of \d+$", re.M)


class Measurement:
    """The repeats of a job, of which one is being measured until the job has ended."""

    def __init__(self, repeats: list[Repeat], log: Path) -> None:
        """log: the job's own; each of several repeats has one beside it."""
        self._repeats = repeats
        self._log = log
        self._at = 0
        repeats[0].begin()

    @property
    def repeat(self) -> Repeat:
        """The repeat that is being measured."""
        return self._repeats[self._at]

    @property
    def log(self) -> Path:
        """Its log."""
        if len(self._repeats) == 1:
            return self._log
        return self._log.parent / self.repeat.folder.name / "run.log"

    def has_moved_on(self) -> bool:
        """Whether the next repeat has begun, by the job's log."""
        if len(self._repeats) == 1:
            return False
        try:
            begun = _BEGINS.findall(self._log.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return False
        return len(begun) > self._at + 1

    def end_repeat(self, job_failed: bool = True) -> Repeat:
        """End the repeat that is being measured, and begin the next one if there is any.

        job_failed: whether the job, or one of its repeats, may have failed. Returns the repeat that
        has ended.
        """
        repeat = self.repeat
        has_result = any((repeat.folder / name).exists() for name in (RUN, KEPT[RUN]))
        repeat.end(job_failed and not (has_result and len(self._repeats) > 1))
        if self._at + 1 < len(self._repeats):
            self._at += 1
            self.repeat.begin()
        return repeat

    @property
    def is_over(self) -> bool:
        """Whether all of its repeats have ended."""
        return self.repeat.state != "running"
