"""The page has the share of prompt tokens from the cache where there is one, and the ideal's."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.pages import headings, page
from tests.unit.synthetic import Load, config, rows, to_table, write_repeat

from mls.config.cells import cells

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_drawings")]


def results(folder: Path, **columns: int | None) -> str:
    """The page of two repeats of a cell whose records have these columns."""
    sweep = config(run={"iters": 40, "max_tokens": 16, "cache_prompt": True})
    records = to_table([row | columns for row in rows(Load(places=4, requests=40, tokens=16))])
    for repeat in (1, 2):
        write_repeat(sweep, folder, cells(sweep)[0], repeat, records)
    return page(sweep, folder)


@pytest.mark.parametrize(
    "columns, shares",
    [
        ({"cached_tokens": 0}, []),
        ({"cached_tokens": None}, []),
        ({"cached_tokens": 15}, ["Cached"]),
        ({"cached_tokens": 15, "ideal_cached_tokens": 30}, ["Cached", "Ideally cached"]),
        ({"cached_tokens": 0, "ideal_cached_tokens": 30}, ["Ideally cached"]),
    ],
)
def test_shares_of_the_cache_are_columns_where_there_are_any(
    tmp_path: Path, columns: dict[str, int | None], shares: list[str]
) -> None:
    html = results(tmp_path, **columns)
    assert [each for each in headings(html) if "ached" in each] == shares
    assert ("<dt>Cached</dt>" in html) == bool(shares)
