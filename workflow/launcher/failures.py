"""What failed in a call of Snakemake, in as many lines as a person reads."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from mls.core.files import read_json
from mls.core.run_folder import FAILURE
from mls.host.text import one_line

SWEEP, END = "mls_sweep", "mls_end"
"""Attributes of the workflow's own records: the sweep before it begins, the last text of a failure."""

MEASURES = ("run", "cell")
"""Rules that measure repeats: one, or all of a cell."""

INTERRUPTED = "Terminating processes on user request"
MOST_REASONS = 3
_SENTENCE = re.compile(r"mls [a-z]+: (.+)")


@dataclass(frozen=True)
class FailedJob:
    """A job that Snakemake saw fail, its log, and the sentence that says why."""

    rule: str
    log: Path | None
    sentence: str
    folder: Path | None = None
    """Of the repeat, if it was one."""


class Failures(logging.Handler):
    """Collects the failed jobs of a call from the records of Snakemake's logger."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[str, FailedJob] = {}
        self._interrupted = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of a failed job, of a failed group of jobs, or of Ctrl-C."""
        self._interrupted |= str(record.msg).startswith(INTERRUPTED)
        event = getattr(record, "event", None)
        fields = record.__dict__
        jobs = [fields] if event == LogEvent.JOB_ERROR else fields.get("job_error_info", [])
        for job in jobs:
            for failed in failed_jobs(job):
                # one, whatever `--retries` says
                self._jobs[str(failed.folder or failed.log or job["jobid"])] = failed

    def add(self, rule: str, log: Path) -> None:
        """Add what failed outside of any job."""
        self._jobs[str(log)] = FailedJob(rule, log, one_line(_last_sentence(log)))

    def text(self, measured: int, planned: int, page: Path | None) -> str:
        """What has a result and what failed; the last line says why. At most nine lines."""
        lines = [f"{measured} of {planned} repeats have a result"]
        if page:
            lines[0] += f": {page} names the others, which the next call measures"
        lines[0] += "."
        if self._interrupted:
            return f"Interrupted. {lines[0]}"
        reasons: dict[str, list[FailedJob]] = {}
        for job in self._jobs.values():
            reasons.setdefault(job.sentence, []).append(job)
        if len(reasons) > MOST_REASONS:
            lines.append(f"There are {len(reasons)} messages; the first {MOST_REASONS}:")
        for sentence, jobs in [*reasons.items()][:MOST_REASONS]:
            log = jobs[0].log
            lines += [f"{_who(jobs)} failed{f'; log: {log}' if log else ''}", sentence]
        return "\n".join(lines)


def failed_jobs(fields: Mapping[str, Any]) -> list[FailedJob]:
    """The job by the fields of its record; of a whole cell, a job for each repeat that failed."""
    rule, log = fields["rule_name"], Path(fields["log"][0]) if fields["log"] else None
    failed = []
    for folder in repeat_folders(fields):
        if failure := read_json(folder / FAILURE):
            own = log.parent / folder.name / "run.log" if log and rule == "cell" else log
            its_log = own if own and own.exists() else log
            failed.append(FailedJob("run", its_log, one_line(failure["message"]), folder))
    return failed or [FailedJob(rule, log, one_line(_last_sentence(log)))]


def repeat_folders(fields: Mapping[str, Any]) -> list[Path]:
    """The folders of the repeats that a job measures, by the fields of its record."""
    if fields["rule_name"] not in MEASURES:
        return []
    return list(dict.fromkeys(Path(path).parent for path in fields["output"]))


def _last_sentence(log: Path | None) -> str:
    """What a command has said last in its log: a sentence for the user, else its last line."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace") if log else ""
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    sentences = [match[1] for line in lines if (match := _SENTENCE.fullmatch(line))]
    return (sentences or lines or ["It ended without a message."])[-1]


def _who(jobs: list[FailedJob]) -> str:
    rules = {job.rule for job in jobs}
    if rules == {"run"}:
        return f"{len(jobs)} repeats" if len(jobs) > 1 else "1 repeat"
    names = [f"{job.rule} of {job.log.stem}" if job.rule in ("probe", "model") and job.log else job.rule
             for job in jobs]  # fmt: skip
    return "The " + " and the ".join(dict.fromkeys(names))
