"""The history page over archives and folders."""

import json
import zipfile

import pytest
from tests.unit.pages import Page
from tests.unit.synthetic import (
    config,
    embeddings,
    to_table,
    write_json,
    write_repeat,
    write_results,
)

from mls.analysis.history import METRICS, history
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.core.errors import UserError
from mls.report.archive.archive import archive
from mls.report.pages.history import render
from mls.report.pages.page import render as render_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of two days; the later day's archive comes first by name."""
    root = tmp_path_factory.mktemp("history")
    for name, day in (("b-first", "2026-01-01"), ("elsewhere", "2026-01-02")):
        sweep = config(name="a-second" if name == "elsewhere" else "b", sweep={"inflight": [1, 2]})
        results = root / name if name == "b-first" else root / "deep" / name
        write_results(sweep, results)
        for path in results.rglob("run.json"):
            data = json.loads(path.read_text())
            data["clock"]["started_utc"] = f"{day}T10:00:00+00:00"
            path.write_text(json.dumps(data))
    aggregate(sweep, results)
    render_report(sweep, results, results / "report.html")
    zip_path = archive(sweep, results)
    zip_path.rename(root / zip_path.name)
    return root


def test_each_cell_has_its_points_by_time(folder):
    overview = history(folder)
    assert [trend.cell["inflight"] for trend in overview.trends] == [1, 2]
    for trend in overview.trends:
        assert [point.started_utc[:10] for point in trend.points] == ["2026-01-01", "2026-01-02"]
        assert trend.points[0].source == "b-first"
        assert trend.points[1].source.endswith(".zip")
        assert set(trend.points[0].estimates) == set(METRICS)


def test_the_page_shows_every_point_and_what_was_left_out(folder, tmp_path):
    path = folder / "broken.zip"
    path.write_bytes(b"no zip")
    try:
        render(history(folder), folder, tmp_path / "history.html")
    finally:
        path.unlink()
    html = (tmp_path / "history.html").read_text()
    text = "".join(Page(html).text)
    assert text.count("2026-01-02 10:00") == 2
    assert "Left out" in text and "broken.zip" in text
    assert html.count("<figure ") == 2


def test_of_embeddings_the_history_counts_requests(tmp_path):
    sweep = config(run={"iters": 32, "endpoint": "/v1/embeddings"}, sweep={"inflight": [1]})
    for name in ("first", "second"):
        results = tmp_path / name
        for cell in cells(sweep):
            for repeat in (1, 2):
                write_repeat(sweep, results, cell, repeat, to_table(embeddings()))
        write_json(results / "config.json", sweep.model_dump(mode="json", exclude_unset=True))
    render(history(tmp_path), tmp_path, tmp_path / "history.html")
    text = "".join(Page((tmp_path / "history.html").read_text()).text)
    assert "requests/s" in text and "tokens/s" not in text


def test_a_folder_without_results_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no archive and no folder of results"):
        history(tmp_path)


def test_an_archive_without_a_result_is_left_out_with_a_reason(folder, tmp_path):
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as zip_file:
        zip_file.writestr("config.json", config(name="default").model_dump_json())
    with pytest.raises(UserError, match=r"empty\.zip has no result of any of the 6 repeats"):
        history(tmp_path)
    for path in folder.glob("*.zip"):
        (tmp_path / path.name).symlink_to(path)
    (reason,) = history(tmp_path).unread
    assert "its config (default) plans" in reason
