"""The archive: one sweep, complete or marked partial, with the same bytes each time."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
from tests.unit.adaptive_sweeps import auto, measure, uneven
from tests.unit.pages import Page
from tests.unit.synthetic import (
    config,
    write_failure,
    write_json,
    write_repeat,
    write_results,
)

from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.core.errors import UserError
from mls.report.archive.archive import archive
from mls.report.archive.manifest import Partial
from mls.report.archive.verification import verify
from mls.report.pages.page import render

pytestmark = pytest.mark.usefixtures("blank_drawings")


@pytest.fixture(scope="module")
def partial_archive(tmp_path_factory):
    """(config, results, locks, partial archive) of a small sweep with one failed repeat."""
    root = tmp_path_factory.mktemp("archive")
    sweep, results, locks = config(sweep={"inflight": [1, 2]}), root / "results", root / "locks"
    write_results(sweep, results)
    folder = next(results.glob("runs/*/*/*/*/repeat~2"))
    shutil.rmtree(folder)
    write_failure(sweep, results, cells(sweep)[0], 2, "The server died.")
    locks.mkdir()
    (locks / "run.txt").write_text("numpy==2.4.6 --hash=sha256:00\n")
    (locks / "run.in").write_text("numpy\n")
    (results / "models" / "weights.gguf").write_bytes(b"GGUF" * 100)
    aggregate(sweep, results)
    render(sweep, results, results / "report.html")
    return sweep, results, locks, archive(sweep, results, locks, partial=True)


def names(path):
    with zipfile.ZipFile(path) as zip_file:
        return zip_file.namelist()


def test_it_holds_everything_but_the_weights(partial_archive):
    sweep, _, _, path = partial_archive
    entries = names(path)
    assert path.parent.name == "archive"
    assert path.name.startswith("synthetic-partial-")
    for name in ("report.html", "summary.csv", "summary.parquet", "cells.csv", "cells.parquet",
                 "environment/environment.json", "probe/smollm2.json", "models/smollm2.json",
                 "config.json", "requirements/run.txt", "manifest.json"):  # fmt: skip
        assert name in entries
    for ending, count in (("run.json", 3), ("requests.parquet", 3), ("failure.json", 1)):
        assert sum(name.endswith(ending) for name in entries) == count
    assert not [name for name in entries if "gguf" in name or name.endswith(".in")]
    with zipfile.ZipFile(path) as zip_file:
        assert json.loads(zip_file.read("config.json")) == json.loads(sweep.model_dump_json())


def test_a_partial_one_verifies_and_says_partial(partial_archive):
    verification = verify(partial_archive[3])
    assert verification.files == len(names(partial_archive[3])) - 1
    assert verification.partial == Partial(measured=3, planned=4)
    assert verification.unchecked == ()
    assert "partial: 3 of 4 planned repeats" in list(verification.sentences())
    text = "".join(Page(member(partial_archive[3], "report.html").decode()).text)
    assert "Partial: 3 of 4 planned repeats have a result." in text.partition("The answer")[0]


def member(path, name):
    with zipfile.ZipFile(path) as zip_file:
        return zip_file.read(name)


def test_ro_crate_metadata_describe_every_file(partial_archive):
    with zipfile.ZipFile(partial_archive[3]) as zip_file:
        crate = json.loads(zip_file.read("ro-crate-metadata.json"))
        things = {thing["@id"]: thing for thing in crate["@graph"]}
        assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
        assert things["ro-crate-metadata.json"]["about"] == {"@id": "./"}
        parts = [things[part["@id"]] for part in things["./"]["hasPart"]]
        expected = set(zip_file.namelist()) - {"ro-crate-metadata.json", "manifest.json"}
        assert {part["name"] for part in parts} == expected
        for part in parts:
            data = zip_file.read(part["name"])
            assert part["sha256"] == hashlib.sha256(data).hexdigest()
            assert part["contentSize"] == str(len(data))
    assert things["./"]["datePublished"] == "2026-01-01"
    assert things["./"]["identifier"].startswith("sha256:")


def test_same_inputs_same_bytes(partial_archive):
    sweep, results, locks, path = partial_archive
    before = path.read_bytes()
    (results / "summary.csv").touch()  # another time stamp
    assert archive(sweep, results, locks, partial=True) == path
    assert path.read_bytes() == before


def test_other_inputs_another_name(partial_archive, tmp_path):
    sweep, results, _, path = partial_archive
    assert archive(sweep, results, tmp_path, partial=True).name != path.name


@pytest.fixture
def complete(tmp_path):
    """(config, results) of a small sweep, without tables and page."""
    sweep, results = config(sweep={"inflight": [1, 2]}), tmp_path / "results"
    write_results(sweep, results)
    return sweep, results


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zips(results):
    return list(results.rglob("*.zip"))


def test_a_clean_one_verifies(complete):
    sweep, results = complete
    verification = verify(archive(sweep, results, results))
    assert (verification.partial, verification.unchecked) == (None, ())
    assert "belong together" in list(verification.sentences())[-1]


def test_page_and_tables_of_another_sweep_in_the_folder_are_made_anew(complete):
    sweep, results = complete
    other = config(name="other", sweep={"inflight": [4]})
    for cell in cells(other):
        for repeat in (1, 2):
            write_repeat(other, results, cell, repeat)
    aggregate(other, results)
    render(other, results, results / "report.html")
    before = content(results)
    zip_path = archive(sweep, results, results)
    assert {path: before[path] for path in before} == {path: path.read_bytes() for path in before}
    with zipfile.ZipFile(zip_path) as zip_file:
        zip_file.extract("cells.csv", results / "unpacked")
        assert not [name for name in zip_file.namelist() if "name~other" in name]
    render(sweep, results, results / "report.html")
    aggregate(sweep, results)
    for name in ("report.html", "cells.csv"):
        assert member(zip_path, name) == (results / name).read_bytes()
    verify(zip_path)


def test_a_page_of_just_this_is_packed_as_it_is(complete):
    sweep, results = complete
    render(sweep, results, results / "report.html")
    with (results / "report.html").open("a") as stream:
        stream.write("<!-- annotated -->")
    assert member(archive(sweep, results), "report.html").endswith(b"<!-- annotated -->")
    # with another title it is no longer a page of just this
    other = sweep.model_copy(update={"title": "Another"})
    assert b"annotated" not in member(archive(other, results), "report.html")


@pytest.mark.parametrize("kind", ["missing", "failed"])
def test_a_planned_repeat_without_a_result_is_one_sentence_and_no_zip(complete, kind):
    sweep, results = complete
    folder = next(results.glob("runs/*/*/*/*/repeat~2"))
    shutil.rmtree(folder)
    if kind == "failed":
        write_failure(sweep, results, cells(sweep)[0], 2, "The server died.")
    why = "The server died" if kind == "failed" else "Not measured yet"
    where = "first model~smollm2/inflight~1/ranks~2/repeat~2: " + why
    with pytest.raises(UserError, match=r"1 of the 4 planned .* `make report CONFIG=") as error:
        archive(sweep, results)
    assert where in str(error.value) and "--partial" in str(error.value)
    assert zips(results) == []


def test_of_nothing_there_is_no_archive(complete):
    _, results = complete
    other = config(name="other")
    with pytest.raises(UserError, match="Sweep other is not complete, as 6 of the 6") as error:
        archive(other, results, partial=True)
    assert "--partial" not in str(error.value)
    assert zips(results) == []


def test_the_command_fails_without_a_traceback(complete):
    sweep, results = complete
    shutil.rmtree(next(results.glob("runs/*/*/*/*/repeat~2")))
    path = results.parent / "config.json"
    write_json(path, sweep.model_dump(mode="json", exclude_unset=True) | {"results": str(results)})

    def mls(*words):
        command = [sys.executable, "-m", "mls", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    process = mls("archive", "--config", path)
    assert (process.returncode, process.stdout, zips(results)) == (1, "", [])
    assert process.stderr.startswith("mls archive: Sweep synthetic is not complete")
    assert process.stderr.count("\n") == 1
    process = mls("archive", "--config", path, "--partial")
    assert process.returncode == 0
    process = mls("verify", process.stdout.strip())
    assert process.returncode == 0 and "partial: 3 of 4 planned repeats" in process.stdout


def test_records_of_other_settings_are_not_packed(complete):
    _, results = complete
    other = config(sweep={"inflight": [1, 2]}, run={"iters": 32, "max_tokens": 48})
    with pytest.raises(UserError, match=r"run\.max_tokens was 32 and the config asks for 48"):
        archive(other, results, partial=True)
    assert zips(results) == []


def test_records_of_another_environment_are_not_packed(complete):
    sweep, results = complete
    write_json(results / "environment" / "environment.json", {"digest": "1" * 64})
    with pytest.raises(
        UserError, match=r"run\.json and environment/environment\.json don't belong"
    ):
        archive(sweep, results)


def test_a_damaged_repeat_is_not_packed_nor_left_out(complete):
    sweep, results = complete
    next(results.rglob("requests.parquet")).write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"requests\.parquet is not what run\.json was made from"):
        archive(sweep, results, partial=True)


def test_without_an_environment_it_is_said_that_it_is_not_known(complete):
    sweep, results = complete
    shutil.rmtree(results / "environment")
    for path in results.rglob("run.json"):
        run = json.loads(path.read_text())
        path.write_text(json.dumps(run | {"environment": {"digest": None}}))
    (sentence,) = verify(archive(sweep, results)).unchecked
    assert "in which environment 4 repeats were measured isn't recorded" in sentence


def test_where_results_decide_it_is_complete_with_the_last_decision(tmp_path):
    sweep = auto(width=0.04, min=3, max=30)
    measure(sweep, tmp_path, uneven(0.05))
    verification = verify(archive(sweep, tmp_path, tmp_path))
    assert verification.partial is None
    max(tmp_path.rglob("round~*.json"), key=lambda path: int(path.stem[6:])).unlink()
    with pytest.raises(UserError, match="have yet to decide whether more is measured of model~"):
        archive(sweep, tmp_path, tmp_path)
    partial = verify(archive(sweep, tmp_path, tmp_path, partial=True)).partial
    assert partial.measured == partial.planned and partial.undecided == 1
