"""The tables of a sweep: right, and complete whatever happened to its repeats."""

import csv
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.unit.damage import change, corrupt, truncate
from tests.unit.synthetic import (
    Load,
    config,
    load_of,
    table,
    write_failure,
    write_repeat,
    write_results,
)

from mls.analysis import intervals
from mls.analysis.repeat.samples import samples
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.core.errors import UserError


def read(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def sweep():
    return config()


@pytest.fixture
def results(sweep, tmp_path):
    write_results(sweep, tmp_path)
    return tmp_path


def only(rows, inflight, repeat):
    return next(r for r in rows if (r["inflight"], r["repeat"]) == (str(inflight), str(repeat)))


def test_one_row_a_repeat_and_one_a_cell_axes_first(sweep, results):
    aggregate(sweep, results)
    repeats, groups = read(results / "summary.csv"), read(results / "cells.csv")
    assert len(repeats) == 6
    assert len(groups) == 3
    assert list(repeats[0])[:6] == ["model", "inflight", "ranks", "repeat", "status", "message"]
    assert list(groups[0])[:5] == ["model", "inflight", "ranks", "repeats_ok", "repeats_failed"]
    assert {row["status"] for row in repeats} == {"ok"}
    assert [row["inflight"] for row in groups] == ["1", "2", "4"]


def test_summary_has_what_run_json_has(sweep, results):
    aggregate(sweep, results)
    for path in results.glob("runs/**/run.json"):
        run = json.loads(path.read_text())
        row = only(read(results / "summary.csv"), run["cell"]["inflight"], run["repeat"])
        summary = run["summary"]
        assert float(row["ttft_ms.p95"]) == summary["ttft_ms"]["p95"]
        rate = summary["throughput"]["completion_tokens_per_s"]
        assert float(row["throughput.completion_tokens_per_s"]) == rate
        assert int(row["requests.ok"]) == summary["requests"]["ok"]
        assert row["verdict"] == "unknown"  # without /metrics; all else passes


def test_parquet_holds_the_same_with_types(sweep, results):
    aggregate(sweep, results)
    for name in ("summary", "cells"):
        rows = pq.read_table(results / f"{name}.parquet").to_pylist()
        text = read(results / f"{name}.csv")
        assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows] == text
        assert isinstance(rows[0]["inflight"], int)


def test_mean_with_students_interval_over_repeats(sweep, results):
    aggregate(sweep, results)
    key = "throughput.completion_tokens_per_s"
    values = [float(row[key]) for row in read(results / "summary.csv") if row["inflight"] == "4"]
    row = read(results / "cells.csv")[2]
    low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert float(row[key]) == pytest.approx(np.mean(values))
    assert float(row[f"{key}.ci95_low"]) == pytest.approx(low)
    assert float(row[f"{key}.ci95_high"]) == pytest.approx(high)


def test_percentiles_are_of_pooled_samples_not_averages_of_percentiles(tmp_path):
    sweep = config(sweep={}, run={"inflight": 2, "max_tokens": 4})
    cell = cells(sweep)[0]
    fast, slow = Load(places=2, tokens=4, requests=90), Load(places=2, tokens=4, ttft_ms=500)
    write_repeat(sweep, tmp_path, cell, 1, table(fast))
    write_repeat(sweep, tmp_path, cell, 2, table(slow))
    aggregate(sweep, tmp_path)
    row = read(tmp_path / "cells.csv")[0]
    pool = np.concatenate([samples(table(fast))["ttft_ms"], samples(table(slow))["ttft_ms"]])
    assert float(row["ttft_ms.p50"]) == np.percentile(pool, 50) == 50
    assert float(row["ttft_ms.mean"]) == pytest.approx((50 + 500) / 2)


def test_a_single_repeat_has_no_interval(tmp_path):
    sweep = config(repeats=1)
    write_results(sweep, tmp_path)
    aggregate(sweep, tmp_path)
    for row in read(tmp_path / "cells.csv"):
        assert row["latency_ms.p95"]
        assert row["latency_ms.p95.ci95_low"] == row["latency_ms.p95.ci95_high"] == ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "requests.parquet is not what run.json was made from"),
        (corrupt, "run.json is corrupt"),
        (change("schema_version", 0), "schema version 0"),
        (change("summary", {}), "run.json is corrupt (at `summary"),
        (change("files", {}), "doesn't list requests.parquet"),
        (lambda folder: (folder / "requests.parquet").unlink(), "requests.parquet is missing"),
        (lambda folder: (folder / "run.json").write_text("[]"), "schema version None"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe"), "not JSON"),
    ],
)
def test_a_damaged_repeat_is_failed_and_hides_no_other(sweep, results, damage, message):
    damage(write_repeat(sweep, results, cells(sweep)[1], 2))
    aggregate(sweep, results)
    row = only(read(results / "summary.csv"), 2, 2)
    assert row["status"] == "failed"
    assert message in row["message"]
    cell = read(results / "cells.csv")[1]
    assert (cell["repeats_ok"], cell["repeats_failed"], cell["verdict"]) == ("1", "1", "fail")
    assert message in cell["message"]
    assert cell["latency_ms.p50"]
    assert only(read(results / "summary.csv"), 4, 2)["status"] == "ok"


def test_a_file_elsewhere_is_never_followed(sweep, results):
    change("files", {"requests.parquet": "0" * 64, "../../secret": "0" * 64})(
        write_repeat(sweep, results, cells(sweep)[0], 1)
    )
    aggregate(sweep, results)
    assert only(read(results / "summary.csv"), 1, 1)["status"] == "failed"


def test_a_failure_is_told_and_a_missing_repeat_is_missing(sweep, tmp_path):
    first = cells(sweep)[0]
    write_repeat(sweep, tmp_path, first, 1)
    write_failure(sweep, tmp_path, first, 2, "The server died\nwhile loading.")
    aggregate(sweep, tmp_path)
    rows = read(tmp_path / "summary.csv")
    assert only(rows, 1, 2)["status"] == "failed"
    assert only(rows, 1, 2)["message"] == "The server died while loading."
    assert only(rows, 4, 1)["status"] == "missing"


def test_nothing_measured_still_gives_every_row(sweep, tmp_path):
    aggregate(sweep, tmp_path)
    assert len(read(tmp_path / "summary.csv")) == 6
    assert len(pq.read_table(tmp_path / "cells.parquet")) == 3


def test_a_failed_check_is_named(sweep, tmp_path):
    cell = cells(sweep)[2]
    alone = table(Load(places=1, requests=32, tokens=32))
    write_repeat(sweep, tmp_path, cell, 1, alone)
    write_repeat(sweep, tmp_path, cell, 2, table(load_of(sweep, cell, 2)))
    aggregate(sweep, tmp_path)
    row = only(read(tmp_path / "summary.csv"), 4, 1)
    assert (row["verdict"], row["verdict_failed"]) == ("fail", "concurrency_held")
    assert read(tmp_path / "cells.csv")[2]["verdict_failed"] == "concurrency_held repeats_agree"


def test_an_axis_of_words_and_numbers(tmp_path):
    sweep = config(sweep={"dispatch": ["auto", "static"], "cache_prompt": [True, False]})
    write_results(sweep, tmp_path)
    aggregate(sweep, tmp_path)
    assert [row["dispatch"] for row in read(tmp_path / "cells.csv")] == ["auto"] * 2 + [
        "static"
    ] * 2


def test_same_input_same_bytes(sweep, results):
    names = ["summary.csv", "cells.csv", "summary.parquet", "cells.parquet"]
    aggregate(sweep, results)
    first = [(results / name).read_bytes() for name in names]
    aggregate(sweep, results)
    assert [(results / name).read_bytes() for name in names] == first
    assert not list(results.glob(".*"))  # no temporary file is left


def test_a_place_that_cannot_be_written_is_one_sentence(sweep, results):
    (results / "summary.csv").mkdir()
    with pytest.raises(UserError, match=r"summary\.csv can't be written"):
        aggregate(sweep, results)


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence(sweep, results, monkeypatch):
    from pathlib import Path

    def full(self, data):
        with open("/dev/full", "wb", buffering=0) as device:  # noqa: PTH123  gives ENOSPC
            device.write(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="free some space"):
        aggregate(sweep, results)


SAMPLES = st.lists(
    st.lists(st.floats(0.01, 1e6), min_size=1, max_size=9).map(np.array), min_size=1, max_size=5
)


@given(SAMPLES, st.sampled_from([50, 90, 95, 99]), st.floats(0.01, 100))
def test_the_interval_of_a_percentile_holds_it_and_follows_the_unit(groups, percent, scale):
    interval = intervals.percentiles(groups, [percent])[percent]
    assert interval.value == pytest.approx(np.percentile(np.concatenate(groups), percent))
    other = intervals.percentiles([group * scale for group in groups], [percent])[percent]
    assert other.value == pytest.approx(interval.value * scale)
    if len(groups) == 1:
        assert interval.low is interval.high is None
    else:
        assert 0 <= interval.low <= interval.value <= interval.high
        assert other.low == pytest.approx(interval.low * scale)
        if np.isfinite(interval.high):
            assert other.high == pytest.approx(interval.high * scale)


def test_repeats_that_are_alike_have_no_interval_to_speak_of():
    interval = intervals.percentiles([np.array([1.0, 2.0, 4.0])] * 3, [95])[95]
    assert interval.low == interval.value == interval.high


def test_a_percentile_of_zeros_is_zero():
    interval = intervals.percentiles([np.zeros(3), np.zeros(3)], [95])[95]
    assert (interval.value, interval.low, interval.high) == (0, 0, 0)
