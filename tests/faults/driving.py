"""Runs the load generator in this process, on one rank."""

from __future__ import annotations

from typing import Any

import pytest
from mpi4py import MPI
from tests.faults.misbehaving import TOKENS

from mls.config.sections.run import Run
from mls.load.rank import Gathered, Job, perform
from mls.protocol.request import Target

Row = dict[str, Any]
TRANSPORTS = ["epoll", "requests"]
both = pytest.mark.parametrize("transport", TRANSPORTS)


def gather(url: str, proxy: str | None = None, **run: Any) -> Gathered:
    """The harvest of a run against `url`; by default 6 requests, 2 in flight, no warm-up."""
    options = {"inflight": 2, "ranks": 1, "iters": 6, "warmup": 0, "timeout_s": 10} | run
    if "duration_s" in options:
        del options["iters"]
    made = Job(Target(url, proxy=proxy), Run(**options), "model", seed=1, run_id="t")
    gathered = perform(MPI.COMM_SELF, made, lambda _: None, lambda: None)
    assert gathered is not None
    return gathered


def rows(url: str, **run: Any) -> list[Row]:
    return gather(url, **run).table.to_pylist()


def assert_good(row: Row) -> None:
    """What must hold for each request that the server treated well, whatever befell the others."""
    assert row["error"] is None and row["status"] == 200, row
    assert row["completion_tokens"] == len(TOKENS) and row["prompt_tokens"] == 7
    assert row["chunks"] == len(row["chunk_ns"]) == len(TOKENS)
    assert row["chunk_ns"] == sorted(row["chunk_ns"])
    assert row["start_ns"] <= row["chunk_ns"][0] and row["chunk_ns"][-1] <= row["end_ns"]
    assert all(lag >= 0 for lag in row["chunk_lag_ns"])


def only(found: list[Row], job: int, total: int = 6) -> Row:
    """The row of one job; all others must be good."""
    assert [row["job"] for row in found] == list(range(total))
    for row in found:
        if row["job"] != job:
            assert_good(row)
    return found[job]
