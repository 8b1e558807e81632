"""Verdicts on one repeat, and a clean run on a quiet host, which passes every check."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
from tests.unit.synthetic import ALIKE, Load, facts

from mls.analysis.checks.registry import CHECKS, judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.run_result import CanaryReport, Verdict
from mls.core.units import NS_PER_S

CLEAN = Load(places=4, requests=40, tokens=16)
BEFORE = {"llamacpp:tokens_predicted_total": 100.0, "llamacpp:prompt_tokens_total": 500.0}
AFTER = {
    "llamacpp:tokens_predicted_total": 100.0 + 40 * 16,
    "llamacpp:prompt_tokens_total": 500.0 + 40 * 60,
}

IDLE = {
    "monotonic_ns": 0,
    "boottime_ns": 7 * NS_PER_S,  # the host was suspended before the run
    "busy_s": 100.0,
    "all_s": 1000.0,
    "steal_s": 1.0,
    "ours_s": 5.0,
    "swapped_bytes": 4096,
    "throttled": 3,
    "governor": "performance",
}
QUIET = IDLE | {
    "monotonic_ns": 10 * NS_PER_S,
    "boottime_ns": 17 * NS_PER_S,
    "busy_s": 115.1,
    "all_s": 1020.0,
    "ours_s": 20.0,
}
HOST = {"server": "managed", "before": IDLE, "after": QUIET}
CLOCK = {"ranks": [{"rank": 0, "wall_clock_steps": 0}, {"rank": 1, "wall_clock_steps": 0}]}


def verdicts(
    records: pa.Table,
    before: dict[str, float] | None = BEFORE,
    after: dict[str, float] | None = AFTER,
    run: Run | None = None,
    checks: Checks | None = None,
    host: dict[str, Any] | None = None,
    canaries: CanaryReport | None = None,
    names: Collection[str] | None = None,
    **values: Any,
) -> dict[str, Verdict]:
    """Check → verdict on these records; the defaults are those of `CLEAN` on a quiet host.

    before, after: the server's counters around the run. names: of the checks, by default all.
    values: facts of the run, by name.
    """
    run = run or Run(inflight=4, iters=40, max_tokens=16)
    run_facts = facts(run.inflight, metrics_before=before, metrics_after=after, **values)
    summary = summarize(records, run_facts)
    checks, host = checks or Checks(), host or HOST
    evidence = Evidence(
        *(summary, records, run, checks, before, after, host, CLOCK), canaries=canaries or ALIKE
    )
    wanted = [check for check in CHECKS if names is None or not {*names}.isdisjoint(check.names)]
    return {verdict.check: verdict for verdict in judge(evidence, wanted)}
