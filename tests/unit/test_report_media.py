"""What the page says of images and audio."""

from pathlib import Path

import pytest
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, rows, to_table, write_repeat, write_results

from mls.config.cells import cells

pytestmark = pytest.mark.usefixtures("blank_drawings")


@pytest.mark.parametrize(
    "size, words",
    [
        (1_500_000, "40 of 80 successful requests had images or audio: 80 in all, 57.2 MiB."),
        (None, "40 of 80 successful requests had images or audio: 80 in all."),
    ],
)
def test_how_much_of_them_was_sent(tmp_path: Path, size: int | None, words: str) -> None:
    keys = {"kind": "dataset", "file": "q.jsonl", "media": "photos"}
    plan = config(repeats=2, sweep={"inflight": [1]}, workload=keys)
    write_results(plan, tmp_path)
    records = rows(Load(requests=41, failed={0: "http_500"}))
    for row in records[::2]:
        row |= {"media_parts": 2, "media_bytes": size}
    for repeat in (1, 2):
        write_repeat(plan, tmp_path, cells(plan)[0], repeat, to_table(records))
    text = " ".join(" ".join(Page(page(plan, tmp_path)).text).split())
    assert words in text
    assert "prompts from q.jsonl with images and audio of photos" in text


def test_nothing_without_any(tmp_path: Path) -> None:
    plan = config(repeats=1, sweep={"inflight": [1]})
    write_results(plan, tmp_path)
    assert "images or audio" not in page(plan, tmp_path)
