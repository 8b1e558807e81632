"""What the pipeline's results say of an engine, held against what is expected of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tests.engines.catalogue import KNOWLEDGE, Engine
from tests.engines.workloads import Workload

_CHECKS = {
    "books": "books_agree",
    "cache": "cache_as_asked",
    "histograms": "server_histograms_agree",
}
_MUST_HOLD = ("errors", "work_as_asked", "prompts_as_asked", "server_time_fits", *_CHECKS.values())
"""Checks that no machine is too slow or too busy for."""

_HITS = "cache_hits_as_possible"
_MUST_PASS = (
    "errors",
    "work_as_asked",
    "prompts_as_asked",
    "books_agree",
    "cache_as_asked",
    "depth_as_asked",
)
"""Checks of a further workload that pass where there are such."""


@dataclass(frozen=True)
class Outcome:
    knows: list[str]
    problems: list[str]
    """What isn't as expected, in words."""
    doubts: list[str]
    """Checks that warn or fail, of the others."""
    figures: str


def outcome(engine: Engine, results: Path) -> Outcome:
    """The outcome of a pipeline that ended well."""
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("runs/**/run.json"))]
    probe = json.loads(next(results.glob("probe/*.json")).read_text())
    statuses = _statuses(runs)
    knows = [name for name in KNOWLEDGE if _is_known(name, runs, probe, statuses)]
    problems = [f"{name} is unknown" for name in KNOWLEDGE if name in engine.knows - {*knows}]
    problems += [f"{name} is known" for name in knows if name not in engine.knows]
    problems += [f"{check} fails" for check in _MUST_HOLD if "fail" in statuses.get(check, ())]
    doubts = sorted(
        f"{check} {worst}s"
        for worst in ("warn", "fail")
        for check, each in statuses.items()
        if worst in each and f"{check} fails" not in problems
    )
    return Outcome(knows, problems, doubts, _figures(runs))


def cache_outcome(engine: Engine, workload: Workload, results: Path, small: bool) -> Outcome:
    """The outcome of a further workload, whose results are in the folder.

    small: with the engine's cache as small as it gets.
    """
    cache = engine.cache
    assert cache
    run = json.loads((results / "run.json").read_text())
    statuses = _statuses([run])
    lacks = (small and workload.contexts > 1) or (cache.slots and workload.beyond_slots)
    expected = dict.fromkeys(_MUST_PASS, "pass") | {_HITS: "warn" if lacks else "pass"}
    if small:  # it may have had nothing at all
        del expected["cache_as_asked"]
    problems = [
        f"{check} is {status}"
        for check, wanted in expected.items()
        for status in sorted(statuses.get(check, ()))
        if status != wanted
    ]
    if _HITS not in statuses:
        problems.append(f"{_HITS} is missing")
    records = pq.read_table(results / "requests.parquet", columns=["cached_tokens"])
    counts = {*records["cached_tokens"].to_pylist()} - {None}  # which another check says
    if odd := sorted(count for count in counts if count % cache.block):
        problems.append(f"cached tokens {odd} aren't of blocks of {cache.block}")
    doubts = sorted(
        f"{check} {status}s"
        for check, each in statuses.items()
        for status in each & {"warn", "fail"}
        if check not in expected
    )
    share, ideal = (_percent(run["summary"]["cache"][key]) for key in ("share", "ideal_share"))
    return Outcome([], problems, doubts, f"{share} from the cache, {ideal} ideally")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _statuses(runs: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Check → its statuses on the repeats."""
    statuses: dict[str, set[str]] = {}
    for run in runs:
        for verdict in run["verdicts"]:
            statuses.setdefault(verdict["check"], set()).add(verdict["status"])
    return statuses


def _is_known(
    name: str, runs: list[dict[str, Any]], probe: dict[str, Any], statuses: dict[str, set[str]]
) -> bool:
    if name == "usage":
        return all(run["summary"]["tokens"]["completion"] is not None for run in runs)
    if name == "tokenizer":
        return bool(probe["prompt_tokens_measured"])
    if name == "context":
        return probe["ctx_per_slot"] is not None
    if name in _CHECKS:
        return "unknown" not in statuses.get(_CHECKS[name], {"unknown"})
    return probe[name] is not None


def _figures(runs: list[dict[str, Any]]) -> str:
    """Means of the repeats' figures, as a hint of what was measured."""
    texts = []
    for title, unit, keys in (
        ("", "requests/s", ("overall", "requests_per_s")),
        ("", "tokens/s", ("overall", "completion_tokens_per_s")),
        ("TTFT ", "ms", ("ttft_ms", "mean")),
        ("TPOT ", "ms", ("tpot_ms", "mean")),
        ("tokens a chunk ", "", ("tokens_per_chunk",)),
    ):
        values = []
        for run in runs:
            value = run["summary"]
            for key in keys:
                value = value[key]
            values.append(value)
        if None not in values:
            texts.append(f"{title}{sum(values) / len(values):.4g} {unit}".strip())
    return ", ".join(texts)
