"""Tokens that a server doesn't count are unknown everywhere, never 0."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.synthetic import Load, config, facts, load_of, rows, table, to_table, write_repeat

from mls.analysis import intervals
from mls.analysis.answer import answer
from mls.analysis.comparison import compare
from mls.analysis.repeat.samples import of_requests
from mls.analysis.repeat.summary import summarize
from mls.analysis.study import Study, read_study
from mls.commands.printout import seed_block
from mls.config.cells import cells
from mls.core.digest import file_sha256
from mls.core.record import LATER_COLUMNS
from mls.core.run_folder import RECORDS, RUN
from mls.report.pages.page import render

COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")


def without_counts(records: pa.Table, jobs: int | None = None) -> pa.Table:
    """The records without the server's counts, in the first `jobs` of them; None: in all."""
    requests = records.to_pylist()
    for row in requests[:jobs]:
        row |= dict.fromkeys(COUNTS)
    return to_table(requests)


def measure(folder: Path, silent: bool) -> Study:
    sweep = config(results=str(folder))
    for cell in cells(sweep):
        for repeat in (1, 2):
            records = table(load_of(sweep, cell, repeat))
            write_repeat(
                sweep, folder, cell, repeat, without_counts(records) if silent else records
            )
    return read_study(sweep, folder)


@pytest.mark.parametrize("jobs", [1, None])
def test_sums_and_rates_are_unknown_when_one_reply_lacks_a_count(jobs: int | None) -> None:
    summary = summarize(without_counts(table(Load()), jobs), facts(4))
    assert summary.tokens.model_dump() == {
        "prompt": None,
        "completion": None,
        "cached_prompt": None,
    }
    assert summary.overall.completion_tokens_per_s is None
    assert summary.throughput.completion_tokens_per_s is None
    assert summary.throughput.prompt_tokens_per_s is None
    assert summary.overall.requests_per_s > 0 and summary.latency_ms.n == 40
    assert "tokens=– tokens/sec=– ok=40" in seed_block(summary, llama_cpp=False)


def test_a_failed_request_need_not_be_counted() -> None:
    summary = summarize(table(Load(failed={3: "timeout"})), facts(4))
    assert summary.tokens.completion and summary.overall.completion_tokens_per_s


def test_the_answer_is_by_requests_and_nowhere_zero(tmp_path: Path) -> None:
    silent = measure(tmp_path, silent=True)
    assert silent.rate.unit == "requests/s"
    best = answer(silent).models[0].throughput
    assert best is not None and best.value.value > 0
    render(silent.config, tmp_path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "tokens/s" not in page.partition("<body")[2].partition('id="provenance"')[0]
    assert "0 tokens" not in page
    assert "TPOT is unknown, as the server doesn't count tokens." in html.unescape(page)
    assert "prompt cache asked to be off, of which the server doesn't say" in html.unescape(page)


def test_a_comparison_with_uncounted_tokens_is_of_requests(tmp_path: Path) -> None:
    complete, silent = measure(tmp_path / "a", silent=False), measure(tmp_path / "b", silent=True)
    for base, new in ((complete, silent), (silent, complete)):
        throughput = compare(base, new).cells[0].changes[0].metric
        assert throughput.unit == "requests/s"
    assert compare(complete, complete).cells[0].changes[0].metric.unit == "tokens/s"


def tpot_ms(tokens: int, chunks: int, first: int | None) -> float:
    """TPOT in ms of a reply with so many tokens and chunks, the chunks 10 ms apart."""
    record = rows(replace(Load(), requests=1, tokens=tokens))[0]
    begin = record["first_chunk_ns"]
    at = [begin + i * 10_000_000 for i in range(chunks)]
    record |= {"chunk_ns": at, "last_chunk_ns": at[-1], "chunks": chunks}
    record |= {"chunk_lag_ns": [0] * chunks, "chunk_merged": [False] * chunks}
    record["first_chunk_tokens"] = first
    return float(of_requests(to_table([record]))["tpot_ms"][0])


@pytest.mark.parametrize(
    ("tokens", "chunks", "first", "tpot"),
    [
        (16, 16, None, 10.0),
        (16, 15, None, 140 / 15),  # a token without text of its own
        (16, 9, 8, 10.0),  # a parser held the first eight back, and the server says so
        (16, 9, None, np.nan),  # the same, and the server doesn't say so: 5.3 would be wrong
        (16, 4, None, np.nan),  # speculative decoding
        (16, 4, 4, 2.5),
        (64, 16, 49, 10.0),  # hidden reasoning
        (16, 16, 16, np.nan),  # the first chunk can't have had them all
    ],
)
def test_tpot_is_by_the_tokens_after_the_first_chunk(
    tokens: int, chunks: int, first: int | None, tpot: float
) -> None:
    assert tpot_ms(tokens, chunks, first) == pytest.approx(tpot, nan_ok=True)


def test_records_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    sweep = config(results=str(tmp_path))
    cell = cells(sweep)[0]
    folder = write_repeat(sweep, tmp_path, cell, 1)
    pq.write_table(
        pq.read_table(folder / RECORDS).drop_columns(list(LATER_COLUMNS)), folder / RECORDS
    )
    result = json.loads((folder / RUN).read_text())
    result["files"][RECORDS] = file_sha256(folder / RECORDS)
    result["config"]["load"]["time_unit"] = "s"  # written for every kind, once
    (folder / RUN).write_text(json.dumps(result))
    study = read_study(sweep, tmp_path)
    assert study.cells[0].repeats[0].status == "ok"


def test_an_interval_of_rates_does_not_reach_below_zero() -> None:
    assert intervals.mean([1.0, 9.0]).low == 0.0
    assert intervals.mean([-1.0, 9.0]).low < 0


def merged(row: dict[str, object]) -> dict[str, object]:
    """The reply as a server sends it whose front end is behind: two tokens in most chunks."""
    kept = {name: row[name][::2] for name in ("chunk_ns", "chunk_lag_ns", "chunk_merged")}  # type: ignore[index]
    return row | kept | {"chunks": len(kept["chunk_ns"]), "last_chunk_ns": kept["chunk_ns"][-1]}


@pytest.mark.parametrize("share, n", [(0.0, 40), (0.05, 38), (0.5, 0)])
def test_tpot_is_of_all_replies_or_unknown(share: float, n: int) -> None:
    """Replies whose chunks are merged are the slow ones: the mean of the others is no estimate."""
    records = rows(Load(requests=40, tokens=16))
    records = [merged(row) if row["job"] < share * 40 else row for row in records]
    assert summarize(to_table(records), facts(4)).tpot_ms.n == n
    counted = [row | {"first_chunk_tokens": 1} for row in records]
    assert summarize(to_table(counted), facts(4)).tpot_ms.n == 40
