"""Runs the load generator in this process, on one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from mpi4py import MPI
from tests.servers.misbehaving import TOKENS

from mls.config.config import ModelSource
from mls.config.sections.load import Load
from mls.config.sections.replies import Replies
from mls.config.sections.run import Run
from mls.config.sections.server import Policy, Server
from mls.config.sections.workload import Workload
from mls.config.settings import Settings
from mls.load.rank import Harvest, perform
from mls.load.spec import RunSpec
from mls.load.workload.builder import Materials
from mls.protocol.request import Target

Row = dict[str, Any]
TRANSPORTS = ["epoll", "requests"]
both = pytest.mark.parametrize("transport", TRANSPORTS)


def spec(
    targets: Sequence[Target],
    run: Run,
    *,
    seed: int = 1,
    load: Load | None = None,
    workload: Workload | None = None,
    materials: Materials | None = None,
    policy: Policy = "round_robin",
    replies: Replies | None = None,
) -> RunSpec:
    """A run of this config against these targets."""
    cell = {"model": "model", "inflight": run.inflight, "ranks": run.ranks}
    urls = [target.url for target in targets] if len(targets) > 1 else None
    server = Server.model_validate({"urls": urls, "policy": policy}) if urls else Server()
    settings = Settings(
        *(cell, 1, seed, ModelSource(), "model", server),
        *(run, load or Load(), workload or Workload()),
        replies=replies or Replies(),
    )
    return RunSpec(settings, tuple(targets), "model", seed, "t", materials or Materials())


def harvest(run_spec: RunSpec) -> Harvest:
    """The harvest of a run on this one rank."""
    result = perform(MPI.COMM_SELF, run_spec, lambda _: None, lambda: None)
    assert result is not None
    return result


def gather(url: str, proxy: str | None = None, **run: Any) -> Harvest:
    """The harvest of a run against `url`; by default 6 requests, 2 in flight, no warm-up."""
    options = {"inflight": 2, "ranks": 1, "iters": 6, "warmup": 0, "timeout_s": 10} | run
    if "duration_s" in options:
        del options["iters"]
    return harvest(spec([Target(url, proxy=proxy)], Run(**options)))


def rows(url: str, **run: Any) -> list[Row]:
    return gather(url, **run).table.to_pylist()


def assert_good(row: Row) -> None:
    """The record of a request with a good reply is right, whatever happened to other requests."""
    assert row["error"] is None and row["status"] == 200, row
    assert row["completion_tokens"] == len(TOKENS) and row["prompt_tokens"] == 7
    assert row["chunks"] == len(row["chunk_ns"]) == len(TOKENS)
    assert row["chunk_ns"] == sorted(row["chunk_ns"])
    assert row["start_ns"] <= row["chunk_ns"][0] and row["chunk_ns"][-1] <= row["end_ns"]
    assert all(lag >= 0 for lag in row["chunk_lag_ns"])


def only(records: list[Row], job: int, total: int = 6) -> Row:
    """The row of one job; all others must be good."""
    assert [row["job"] for row in records] == list(range(total))
    for row in records:
        if row["job"] != job:
            assert_good(row)
    return records[job]
