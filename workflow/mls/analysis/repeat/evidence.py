"""The evidence for the checks of one repeat, and the form of their verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from mls.analysis.repeat.cache.ideal import IdealCache, ideal_cache
from mls.analysis.repeat.in_flight import Timeline
from mls.analysis.repeat.server_figures import ServerFigures
from mls.config.sections.checks import Checks
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.server import NO_SPECULATION
from mls.config.sections.workload import Workload
from mls.core.run_result import CanaryReport, Template, Verdict
from mls.core.summary import Summary

Status = Literal["pass", "warn", "fail", "unknown"]
WORSE: tuple[Status, ...] = ("pass", "unknown", "warn", "fail")
"""All statuses, each worse than the one before."""


@dataclass(frozen=True)
class Evidence:
    """The evidence on one repeat. table: its records (schema `mls.core.record.REQUESTS`)."""

    summary: Summary
    table: pa.Table
    run: Run
    checks: Checks
    metrics_before: dict[str, float] | None = None
    """The server's `/metrics` between warm-up and load; None when the server has none."""
    metrics_after: dict[str, float] | None = None
    host: dict[str, Any] = field(default_factory=dict)
    """`host` of `RunResult`; empty when it was not recorded."""
    clock: dict[str, Any] = field(default_factory=dict)
    """`clock` of `RunResult`."""
    load: Load = field(default_factory=Load)
    workload: Workload = field(default_factory=Workload)
    over_time: Timeline | None = None
    """The timeline of the records, where the caller has it."""
    left_out: tuple[str, ...] = ()
    """Fields of requests that the server refuses."""
    canaries: CanaryReport | None = None
    """`canaries` of `RunResult`."""
    speculation: str = NO_SPECULATION
    """The managed server's `server.speculation`."""
    template: Template = field(default_factory=Template)

    @cached_property
    def ideal_cache(self) -> IdealCache | None:
        """What an ideal cache has of each prompt; None where that isn't known."""
        return ideal_cache(self.table, self.workload, self.template)

    @property
    def server_figures(self) -> ServerFigures:
        """The growth of the server's own figures during the load."""
        return ServerFigures(self.metrics_before or {}, self.metrics_after or {})


def verdict(
    check: str,
    status: Status,
    measured: float | str | None,
    threshold: float | str | None,
    message: str,
) -> Verdict:
    return Verdict(
        check=check, status=status, measured=measured, threshold=threshold, message=message
    )


def excess(effect: float, threshold: float) -> Status:
    """The status of an effect above its threshold: `fail` above twice the threshold, else `warn`.

    Shared machines often drift by a tenth. That is worth knowing, but no reason to discard the
    figures.
    """
    return "fail" if effect > 2 * threshold else "warn"


def worst(statuses: Iterable[str]) -> str:
    """The worst of the statuses; `unknown` when there are none."""
    return max(statuses, key=WORSE.index, default="unknown")
