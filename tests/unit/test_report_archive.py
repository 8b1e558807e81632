"""The archive: of one sweep, whole or said to be partial, and the same bytes each time."""

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


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """(config, results, locks, archive) of a small sweep with one failed repeat: a partial one."""
    root = tmp_path_factory.mktemp("archive")
    planned, results, locks = config(sweep={"inflight": [1, 2]}), root / "results", root / "locks"
    write_results(planned, results)
    folder = next(results.glob("runs/*/*/*/*/repeat~2"))
    shutil.rmtree(folder)
    write_failure(planned, results, cells(planned)[0], 2, "The server died.")
    locks.mkdir()
    (locks / "run.txt").write_text("numpy==2.4.6 --hash=sha256:00\n")
    (locks / "run.in").write_text("numpy\n")
    (results / "models" / "weights.gguf").write_bytes(b"GGUF" * 100)
    aggregate(planned, results)
    render(planned, results, results / "report.html")
    return planned, results, locks, archive(planned, results, locks, partial=True)


def names(path):
    with zipfile.ZipFile(path) as opened:
        return opened.namelist()


def test_it_holds_everything_but_the_weights(packed):
    planned, _, _, path = packed
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
    with zipfile.ZipFile(path) as opened:
        assert json.loads(opened.read("config.json")) == json.loads(planned.model_dump_json())


def test_a_partial_one_verifies_and_says_partial(packed):
    verification = verify(packed[3])
    assert verification.files == len(names(packed[3])) - 1
    assert verification.partial == Partial(measured=3, planned=4)
    assert verification.unchecked == ()
    assert "partial: 3 of 4 planned repeats" in list(verification.sentences())
    text = "".join(Page(member(packed[3], "report.html").decode()).text)
    assert "Partial: 3 of 4 planned repeats have a result." in text.partition("The answer")[0]


def member(path, name):
    with zipfile.ZipFile(path) as opened:
        return opened.read(name)


def test_ro_crate_metadata_describe_every_file(packed):
    with zipfile.ZipFile(packed[3]) as opened:
        crate = json.loads(opened.read("ro-crate-metadata.json"))
        things = {thing["@id"]: thing for thing in crate["@graph"]}
        assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
        assert things["ro-crate-metadata.json"]["about"] == {"@id": "./"}
        parts = [things[part["@id"]] for part in things["./"]["hasPart"]]
        expected = set(opened.namelist()) - {"ro-crate-metadata.json", "manifest.json"}
        assert {part["name"] for part in parts} == expected
        for part in parts:
            data = opened.read(part["name"])
            assert part["sha256"] == hashlib.sha256(data).hexdigest()
            assert part["contentSize"] == str(len(data))
    assert things["./"]["datePublished"] == "2026-01-01"
    assert things["./"]["identifier"].startswith("sha256:")


def test_same_inputs_same_bytes(packed):
    planned, results, locks, path = packed
    before = path.read_bytes()
    (results / "summary.csv").touch()  # another time stamp
    assert archive(planned, results, locks, partial=True) == path
    assert path.read_bytes() == before


def test_other_inputs_another_name(packed, tmp_path):
    planned, results, _, path = packed
    assert archive(planned, results, tmp_path, partial=True).name != path.name


@pytest.fixture
def complete(tmp_path):
    """(config, results) of a small sweep; nothing but the records has been made."""
    planned, results = config(sweep={"inflight": [1, 2]}), tmp_path / "results"
    write_results(planned, results)
    return planned, results


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zips(results):
    return list(results.rglob("*.zip"))


def test_a_clean_one_verifies(complete):
    planned, results = complete
    verification = verify(archive(planned, results, results))
    assert (verification.partial, verification.unchecked) == (None, ())
    assert "belong together" in list(verification.sentences())[-1]


def test_page_and_tables_of_another_sweep_in_the_folder_are_made_anew(complete):
    planned, results = complete
    other = config(name="other", sweep={"inflight": [4]})
    for cell in cells(other):
        for repeat in (1, 2):
            write_repeat(other, results, cell, repeat)
    aggregate(other, results)
    render(other, results, results / "report.html")
    before = content(results)
    packed = archive(planned, results, results)
    assert {path: before[path] for path in before} == {path: path.read_bytes() for path in before}
    with zipfile.ZipFile(packed) as opened:
        opened.extract("cells.csv", results / "unpacked")
        assert not [name for name in opened.namelist() if "name~other" in name]
    render(planned, results, results / "report.html")
    aggregate(planned, results)
    for name in ("report.html", "cells.csv"):
        assert member(packed, name) == (results / name).read_bytes()
    verify(packed)


def test_a_page_of_just_this_is_packed_as_it_is(complete):
    planned, results = complete
    render(planned, results, results / "report.html")
    with (results / "report.html").open("a") as stream:
        stream.write("<!-- annotated -->")
    assert member(archive(planned, results), "report.html").endswith(b"<!-- annotated -->")
    # of the same records with another title it is no longer
    retitled = planned.model_copy(update={"title": "Another"})
    assert b"annotated" not in member(archive(retitled, results), "report.html")


@pytest.mark.parametrize("kind", ["missing", "failed"])
def test_a_planned_repeat_without_a_result_is_one_sentence_and_no_zip(complete, kind):
    planned, results = complete
    folder = next(results.glob("runs/*/*/*/*/repeat~2"))
    shutil.rmtree(folder)
    if kind == "failed":
        write_failure(planned, results, cells(planned)[0], 2, "The server died.")
    why = "The server died" if kind == "failed" else "Not measured yet"
    where = "first model~smollm2/inflight~1/ranks~2/repeat~2: " + why
    with pytest.raises(UserError, match=r"1 of the 4 planned .* `make report CONFIG=") as caught:
        archive(planned, results)
    assert where in str(caught.value) and "--partial" in str(caught.value)
    assert zips(results) == []


def test_of_nothing_there_is_no_archive(complete):
    _, results = complete
    other = config(name="other")
    with pytest.raises(UserError, match="Sweep other is not complete, as 6 of the 6") as caught:
        archive(other, results, partial=True)
    assert "--partial" not in str(caught.value)
    assert zips(results) == []


def test_the_command_fails_without_a_traceback(complete):
    planned, results = complete
    shutil.rmtree(next(results.glob("runs/*/*/*/*/repeat~2")))
    path = results.parent / "config.json"
    write_json(
        path, planned.model_dump(mode="json", exclude_unset=True) | {"results": str(results)}
    )

    def mls(*words):
        command = [sys.executable, "-m", "mls", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = mls("archive", "--config", path)
    assert (done.returncode, done.stdout, zips(results)) == (1, "", [])
    assert done.stderr.startswith("mls archive: Sweep synthetic is not complete")
    assert done.stderr.count("\n") == 1
    done = mls("archive", "--config", path, "--partial")
    assert done.returncode == 0
    done = mls("verify", done.stdout.strip())
    assert done.returncode == 0 and "partial: 3 of 4 planned repeats" in done.stdout


def test_records_of_other_settings_are_not_packed(complete):
    _, results = complete
    changed = config(sweep={"inflight": [1, 2]}, run={"iters": 32, "max_tokens": 48})
    with pytest.raises(UserError, match=r"run\.max_tokens was 32 and the config asks for 48"):
        archive(changed, results, partial=True)
    assert zips(results) == []


def test_records_of_another_environment_are_not_packed(complete):
    planned, results = complete
    write_json(results / "environment" / "environment.json", {"digest": "1" * 64})
    with pytest.raises(
        UserError, match=r"run\.json and environment/environment\.json don't belong"
    ):
        archive(planned, results)


def test_a_damaged_repeat_is_not_packed_nor_left_out(complete):
    planned, results = complete
    next(results.rglob("requests.parquet")).write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"requests\.parquet is not what run\.json was made from"):
        archive(planned, results, partial=True)


def test_without_an_environment_it_is_said_that_it_is_not_known(complete):
    planned, results = complete
    shutil.rmtree(results / "environment")
    for path in results.rglob("run.json"):
        run = json.loads(path.read_text())
        path.write_text(json.dumps(run | {"environment": {"digest": None}}))
    (sentence,) = verify(archive(planned, results)).unchecked
    assert "in which environment 4 repeats were measured isn't recorded" in sentence


def test_where_results_decide_it_is_complete_with_the_last_decision(tmp_path):
    asked = auto(width=0.04, min=3, max=30)
    measure(asked, tmp_path, uneven(0.05))
    verification = verify(archive(asked, tmp_path, tmp_path))
    assert verification.partial is None
    max(tmp_path.rglob("round~*.json"), key=lambda path: int(path.stem[6:])).unlink()
    with pytest.raises(UserError, match="have yet to decide whether more is measured of model~"):
        archive(asked, tmp_path, tmp_path)
    partial = verify(archive(asked, tmp_path, tmp_path, partial=True)).partial
    assert partial.measured == partial.planned and partial.undecided == 1
