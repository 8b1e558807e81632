"""The server's own times in the summary, and where the time of a request goes by them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine_pages import ENGINES, page
from tests.unit.server_times import STEADY, TIMES, by_histograms, silent
from tests.unit.synthetic import config, facts, rows, table, to_table, write_repeat

from mls.analysis.repeat.latency_parts import latency_parts, mean_parts
from mls.analysis.repeat.summary import summarize
from mls.analysis.study import read_study
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.core.run_folder import RUN
from mls.core.summary import ServerSide, Summary
from mls.protocol.engines.registry import by_name
from mls.protocol.engines.vllm import VLLM
from mls.protocol.metrics import read_metrics

LATENCY_MS, CONNECT_MS = 200.0, 0.2 * 4 / 40
LATER = (*TIMES, "preemptions")


def server(records: list[dict[str, object]], before: dict, after: dict) -> Summary:
    known = facts(4, metrics_before=before, metrics_after=after)
    return summarize(to_table(records), known)


def times(side: ServerSide) -> dict[str, float | None]:
    return {name: getattr(side, name) for name in TIMES}


def test_times_are_the_means_of_the_histograms_of_this_run() -> None:
    side = server(silent(), *by_histograms()).server
    assert times(side) == pytest.approx(TIMES)
    assert (side.preemptions, side.deferred) == (4, 3.0)


@pytest.mark.parametrize("engine", [name for name in ENGINES if by_name(ENGINES[name]).histograms])
def test_recorded_histograms_have_all_times(engine: str) -> None:
    pages = (read_metrics(page(engine, when)) for when in ("before", "after"))
    side = server(silent(replace(STEADY, requests=3)), *pages).server
    known = times(side)
    assert all(known.values()), known
    assert known["queue_ms"] + known["prefill_ms"] + known["decode_ms"] < known["latency_ms"]
    assert (side.preemptions, side.deferred) == (0, 0.0)


def test_a_histogram_of_other_requests_too_tells_nothing() -> None:
    known = times(server(silent(), *by_histograms(queue_ms=1)).server)
    assert known.pop("queue_ms") is None
    assert known.pop("itl_ms") is None  # its samples don't say of whose requests they are
    assert None not in known.values()
    failed = silent(replace(STEADY, failed={3: "timeout"}))
    assert set(times(server(failed, *by_histograms()).server).values()) == {None}


def test_llama_cpp_tells_prefill_and_decode_in_its_replies() -> None:
    side = summarize(table(STEADY), facts(4)).server
    known = {name: value for name, value in times(side).items() if value is not None}
    assert known == pytest.approx({"prefill_ms": 45.0, "decode_ms": 150.0})
    assert (side.preemptions, side.deferred) == (None, None)


def test_one_reply_without_times_makes_their_mean_unknown() -> None:
    records = rows(STEADY)
    records[5]["server_prompt_ms"] = None
    side = summarize(to_table(records), facts(4)).server
    assert (side.prefill_ms, side.decode_ms) == (None, 150.0)
    failed = summarize(table(replace(STEADY, failed={5: "timeout"})), facts(4)).server
    assert failed.prefill_ms == 45.0


def test_parts_of_an_engine_with_histograms() -> None:
    parts = latency_parts(server(silent(), *by_histograms()))
    assert [*parts.items()] == [
        ("connect", pytest.approx(CONNECT_MS)),
        ("outside the server's clock", pytest.approx(LATENCY_MS - 190 - CONNECT_MS)),
        ("queue", pytest.approx(5)),
        ("otherwise in the server", pytest.approx(10)),
        ("prefill", pytest.approx(35)),
        ("decode", pytest.approx(140)),
    ]


def test_parts_of_llama_cpp() -> None:
    assert [*latency_parts(summarize(table(STEADY), facts(4))).items()] == [
        ("connect", pytest.approx(CONNECT_MS)),
        ("queue, network and client", pytest.approx(LATENCY_MS - 195 - CONNECT_MS)),
        ("prefill", pytest.approx(45)),
        ("decode", pytest.approx(150)),
    ]


def test_parts_that_are_unknown_are_in_none() -> None:
    before, after = by_histograms()
    for figure in ("prefill_ms", "decode_ms"):
        name = VLLM.histograms[figure].names[0]  # type: ignore[index]
        del after[f"{name}_sum"], after[f"{name}_count"]
    parts = latency_parts(server([row | {"connected_ns": None} for row in silent()], before, after))
    assert parts == pytest.approx(
        {"outside the server's clock": 10, "queue": 5, "otherwise in the server": 185}
    )
    assert latency_parts(server(silent(), *by_histograms(latency_ms=1, prefill_ms=1))) == {}
    assert latency_parts(summarize(to_table(silent()), facts(4))) == {}
    assert latency_parts(summarize(to_table([]), facts(4))) == {}


def test_repeats_count_of_which_most_is_known() -> None:
    whole = server(silent(), *by_histograms())
    shared = server(silent(), *by_histograms(queue_ms=1))
    kept = server([row | {"connected_ns": None} for row in silent()], *by_histograms())
    parts = mean_parts([shared, whole, kept])
    assert parts["connect"] == pytest.approx(CONNECT_MS / 2)
    assert parts["queue"] == pytest.approx(5)
    assert mean_parts([]) == {}


@given(st.lists(st.none() | st.floats(0, 300), min_size=4, max_size=4))
def test_parts_together_are_the_latency(values: list[float | None]) -> None:
    summary = summarize(to_table(silent()), facts(4))
    names = ("latency_ms", "queue_ms", "prefill_ms", "decode_ms")
    side = summary.server.model_copy(update=dict(zip(names, values, strict=True)))
    parts = latency_parts(summary.model_copy(update={"server": side}))
    if parts:
        assert sum(parts.values()) == pytest.approx(LATENCY_MS)


def test_times_are_columns_of_both_tables_and_earlier_results_have_them(tmp_path: Path) -> None:
    sweep = config(sweep={}, repeats=1, run={"inflight": 4, "iters": 40})
    folder = write_repeat(sweep, tmp_path, cells(sweep)[0], 1, table(STEADY))
    result = json.loads((folder / RUN).read_text())
    for name in LATER:
        del result["summary"]["server"][name]
    del result["summary"]["tokens_per_chunk"]
    (folder / RUN).write_text(json.dumps(result))
    aggregate(sweep, tmp_path)
    for name in ("summary.csv", "cells.csv"):
        header, row = (tmp_path / name).read_text().splitlines()[:2]
        figures = dict(zip(header.split(","), row.split(","), strict=True))
        assert float(figures["server.prefill_ms"]) == 45.0
        assert figures["server.queue_ms"] == figures["server.preemptions"] == ""
        assert float(figures["tokens_per_chunk"]) == 1.0
    assert read_study(sweep, tmp_path).cells[0].estimates["server.decode_ms"].value == 150.0
