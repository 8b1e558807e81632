"""Where chunks hold several tokens the page says so beside ITL."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.pages import captions, headings, page
from tests.unit.synthetic import config, load_of, rows, to_table, write_repeat

from mls.config.cells import cells

pytestmark = pytest.mark.usefixtures("blank_drawings")

NOTE = "ITL is of chunks of "


def results(tmp_path: Path, tokens_by_inflight: dict[int, int], **columns: int) -> str:
    """The page of cells whose replies have 32 chunks each. columns: of their records."""
    sweep = config(sweep={"inflight": [*tokens_by_inflight]})
    for cell in cells(sweep):
        tokens = {"completion_tokens": tokens_by_inflight[int(cell["inflight"])]} | columns
        records = [row | tokens for row in rows(load_of(sweep, cell, 1))]
        for repeat in (1, 2):
            write_repeat(sweep, tmp_path, cell, repeat, to_table(records))
    return page(sweep, tmp_path)


def test_itl_is_said_to_be_of_chunks_and_tpot_comes_first(tmp_path: Path) -> None:
    html = results(tmp_path, {2: 64, 4: 80}, first_chunk_tokens=2)
    notes = captions(html)
    itl = [note for title, note in notes.items() if "ITL" in title]
    assert len(itl) == 2
    assert all(f"{NOTE}2.00 to 2.52 tokens; TPOT is the time of one." in note for note in itl)
    assert not [title for title, note in notes.items() if NOTE in note and "ITL" not in title]
    columns = headings(html)
    assert columns.index("TPOT p50") < columns.index("Tokens a chunk") < columns.index("ITL p99")
    titles = [*notes]
    assert titles.index("TPOT") < titles.index("ITL")
    tokens, gaps = "Time per output token (TPOT)", "Inter-token latency (ITL)"
    assert titles.index(tokens) < titles.index(gaps)


def test_without_tpot_none_is_promised(tmp_path: Path) -> None:
    html = results(tmp_path, {2: 64})
    assert f"{NOTE}2.00 tokens." in html and "time of one" not in html
    assert "TPOT is unknown: the server sends 2.00 tokens a chunk" in html


@pytest.mark.parametrize("tokens", [32, 33])
def test_of_single_tokens_nothing_is_said(tmp_path: Path, tokens: int) -> None:
    html = results(tmp_path, {2: tokens})
    assert NOTE not in html and "Tokens a chunk" not in headings(html)
