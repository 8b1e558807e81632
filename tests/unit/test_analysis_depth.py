"""Prompt processing and generation at a depth: figures, their tables, and the check of the depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, facts, rows, to_table, write_repeat

from mls.analysis.cell.depth import FIGURES, depth_figures
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.analysis.study import read_study
from mls.analysis.tables import cell_rows
from mls.config.cells import cells
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.record import REQUESTS
from mls.core.run_result import Verdict

pytestmark = pytest.mark.usefixtures("blank_drawings")

LOAD = Load(places=1, requests=8, tokens=11, prompt=150, ttft_ms=50, itl_ms=10)
RUN = Run(inflight=1, iters=8, max_tokens=11, cache_prompt=True)


def at_depth(load: Load = LOAD, **columns: Any) -> list[dict[str, Any]]:
    """Records whose prompts had 100 tokens in the cache, with the server's own times."""
    own = {"cached_tokens": 100, "server_prompt_ms": 40.0, "server_predicted_ms": 80.0} | columns
    return [row | own for row in rows(load)]


def test_rates_by_both_clocks() -> None:
    figures = depth_figures(to_table(at_depth()))
    assert figures == pytest.approx(
        {
            "depth.cached_tokens": 100,
            "depth.new_tokens": 50,
            "depth.pp_per_s": 50 / 0.050,
            "depth.server_pp_per_s": 50 / 0.040,
            "depth.tg_per_s": 100,
            "depth.server_tg_per_s": 10 / 0.080,  # the first token takes no step
            "depth.outside_ms": 10,
        }
    )
    assert tuple(figures) == FIGURES


@pytest.mark.parametrize(
    ("column", "lost"),
    [
        ("cached_tokens", {"cached_tokens", "new_tokens", "pp_per_s", "server_pp_per_s"}),
        ("server_prompt_ms", {"server_pp_per_s", "outside_ms"}),
        ("server_predicted_ms", {"server_tg_per_s"}),
    ],
)
def test_what_one_reply_does_not_say_is_unknown(column: str, lost: set[str]) -> None:
    records = at_depth()
    records[3][column] = None
    assert set(FIGURES) - set(depth_figures(to_table(records))) == {f"depth.{n}" for n in lost}


def test_replies_of_one_token_and_replies_in_one_piece_have_no_rates() -> None:
    single = depth_figures(to_table(at_depth(Load(places=1, requests=4, tokens=1))))
    assert not {"depth.tg_per_s", "depth.server_tg_per_s"} & set(single)
    whole = depth_figures(to_table(at_depth(Load(places=1, requests=4, stream=False))))
    assert not {"depth.pp_per_s", "depth.tg_per_s", "depth.outside_ms"} & set(whole)
    assert depth_figures(REQUESTS.empty_table()) == {}


def judged(
    records: list[dict[str, Any]], workload: Workload, metrics: dict[str, float] | None = None
) -> dict[str, Verdict]:
    table = to_table(records)
    summary = summarize(table, facts(RUN.inflight))
    evidence = Evidence(summary, table, RUN, Checks(), metrics, metrics, workload=workload)
    return {verdict.check: verdict for verdict in judge(evidence)}


@pytest.mark.parametrize(
    ("depth", "cached", "status", "words"),
    [
        (40, [40, 42], "pass", "least 40, most 42"),
        (40, [38], "pass", "least 38"),
        (40, [40, 37], "fail", "4 of 8 prompts had less than the 40 tokens"),
        (40, [0], "fail", "8 of 8 prompts had less"),
        (40, [59], "fail", "came mostly from the cache, too"),
        (0, [0], "pass", "least 0"),
        (0, [59], "fail", "came mostly from the cache, too"),
        (40, [None], "unknown", "doesn't say how much of a prompt"),
        (40, [40, None], "unknown", "of 4 of 8 prompts"),
        (40, [0, None], "fail", "4 of 4 prompts had less"),
    ],
)
def test_prompts_are_processed_at_the_depth(
    depth: int, cached: list[int | None], status: str, words: str
) -> None:
    workload = Workload(kind="depth", depth=depth, prompt_tokens=60 - depth)
    records = at_depth(prompt_tokens=60)
    for i, record in enumerate(records):
        record["cached_tokens"] = cached[i % len(cached)]
    by_check = judged(records, workload)
    assert "cache_as_asked" not in by_check
    assert by_check["depth_as_asked"].status == status
    assert words in by_check["depth_as_asked"].message


@pytest.mark.parametrize(("cached", "caches_by_it"), [(256, True), (128, False)])
def test_a_depth_between_a_servers_blocks_is_told_so(cached: int, caches_by_it: bool) -> None:
    """In blocks of 128 tokens a cache has 256 of 300."""
    workload = Workload(kind="depth", depth=300, prompt_tokens=64)
    metrics = {"vllm:cache_config_info.block_size": 128.0}
    records = at_depth(prompt_tokens=364, cached_tokens=cached)
    verdict = judged(records, workload, metrics)["depth_as_asked"]
    assert verdict.status == "fail"
    assert ("by 128 tokens: choose a depth that is a multiple" in verdict.message) is caches_by_it


def test_other_workloads_have_no_depth() -> None:
    by_check = judged(at_depth(), Workload(kind="synthetic", prompt_tokens=150))
    assert "depth_as_asked" not in by_check
    assert by_check["cache_as_asked"].status == "pass"


def test_tables_and_page_name_the_tests_as_llama_bench_does(tmp_path: Path) -> None:
    sweep = config(
        workload={"kind": "depth", "prompt_tokens": 50},
        run={"cache_prompt": True, "max_tokens": 11, "iters": 8},
        sweep={"inflight": [1], "depth": [0, 100]},
    )
    for cell in cells(sweep):
        for number in (1, 2):
            depth = cell["depth"]
            load = Load(places=1, requests=8, tokens=11, prompt=50 + depth, ttft_ms=50 + number)
            records = to_table(at_depth(load, cached_tokens=depth))
            write_repeat(sweep, tmp_path, cell, number, records)
    deep = cell_rows(read_study(sweep, tmp_path))[1]
    assert deep["depth.pp_per_s"] == pytest.approx((50 / 0.051 + 50 / 0.052) / 2)
    assert deep["depth.pp_per_s.ci95_low"] < deep["depth.pp_per_s"]
    html = page(sweep, tmp_path)
    assert "Prompt processing by depth" in html and "Generation by depth" in html
    text = " ".join(Page(html).text)
    for name in ("pp50 @ d0", "tg11 @ d50", "pp50 @ d100", "tg11 @ d150"):
        assert name in text
