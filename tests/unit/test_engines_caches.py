"""The further workloads of `make test-engines`: they are valid, and what isn't as expected is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.engines import series
from tests.engines.catalogue import ENGINES, Cache, Engine
from tests.engines.outcome import cache_outcome
from tests.engines.workloads import WORKLOADS, Workload

from mls.config.cells import cells
from mls.config.parse import load_config
from mls.config.settings import settings

CACHES = [engine for engine in ENGINES if engine.cache]
ENGINE = Engine("one", ("serve",), frozenset(), cache=Cache(block=16, slots=True))
ASKED = Workload("asked", {}, {}, contexts=2)
SHARES = {"share": 0.5, "ideal_share": None}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("engine", CACHES, ids=lambda engine: engine.name)
def test_each_has_a_valid_config_on_one_server(
    engine: Engine, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(series, "BUILD", tmp_path)
    monkeypatch.setattr(series, "model_of", lambda engine, programs: tmp_path)
    monkeypatch.setattr(series, "describe", lambda config, results: None)
    monkeypatch.setattr(series, "execute", lambda command, log: commands.extend(command))
    outputs = series.measure(engine, Path("/bin"), WORKLOADS, small)
    assert list(outputs) == [workload.name for workload in WORKLOADS]
    servers, seeds = set(), set()
    for name, folder in outputs.items():
        config = load_config(folder.with_name(f"{name}.yaml"))
        point = settings(config, cells(config)[0], 1)
        servers.add(point.server.model_dump_json())
        seeds.add(config.seed)
        assert point.run.cache_prompt
    assert len(servers) == 1 and len(seeds) == len(WORKLOADS)
    assert commands[-1].count("mls.worker") == len(WORKLOADS)


def test_a_small_cache_is_another_one() -> None:
    for engine in CACHES:
        assert engine.cache and (engine.cache.small or engine.cache.small_parallel)


def problems(
    folder: Path, hits: str, small: bool = False, cached: int | None = 32, **checks: str
) -> list[str]:
    """The problems of a workload with these statuses."""
    statuses = {"cache_hits_as_possible": hits, "books_agree": "pass"} | checks
    verdicts = [{"check": name, "status": status} for name, status in statuses.items()]
    run = {"verdicts": verdicts, "summary": {"cache": SHARES}}
    (folder / "run.json").write_text(json.dumps(run))
    pq.write_table(pa.table({"cached_tokens": [0, cached]}), folder / "requests.parquet")
    result = cache_outcome(ENGINE, ASKED, folder, small)
    assert result.figures == "50.0% from the cache, – ideally"
    return result.problems


def test_a_cache_that_is_as_expected(tmp_path: Path) -> None:
    assert problems(tmp_path, "pass", cache_as_asked="pass", steady="warn") == []
    assert problems(tmp_path, "warn", small=True, cache_as_asked="warn") == []


@pytest.mark.parametrize(
    ("hits", "small", "cached", "checks", "problem"),
    [
        ("warn", False, 32, {}, "cache_hits_as_possible is warn"),
        ("pass", True, 32, {}, "cache_hits_as_possible is pass"),
        ("unknown", False, None, {}, "cache_hits_as_possible is unknown"),
        ("pass", False, 33, {}, "cached tokens [33] aren't of blocks of 16"),
        ("pass", False, 32, {"books_agree": "unknown"}, "books_agree is unknown"),
        ("pass", False, 32, {"cache_as_asked": "warn"}, "cache_as_asked is warn"),
        ("pass", False, 32, {"depth_as_asked": "fail"}, "depth_as_asked is fail"),
    ],
)
def test_what_is_not_as_expected_of_a_cache_is_said(
    tmp_path: Path, hits: str, small: bool, cached: int | None, checks: dict[str, str], problem: str
) -> None:
    assert problems(tmp_path, hits, small, cached, **checks) == [problem]


def test_slots_lack_what_is_beyond_them(tmp_path: Path) -> None:
    assert problems(tmp_path, "warn")
    beyond = replace(ASKED, beyond_slots=True)
    assert cache_outcome(ENGINE, beyond, tmp_path, small=False).problems == []
