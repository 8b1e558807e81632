"""The archive: the same bytes each time, and no change to it goes unseen."""

import hashlib
import json
import shutil
import zipfile

import pytest
from tests.unit.synthetic import config, write_failure, write_results

from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.core.errors import UserError
from mls.report.archive.archive import archive, verify
from mls.report.pages.page import render


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """(config, results, locks, archive) of a small sweep with one failed repeat."""
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
    return planned, results, locks, archive(planned, results, locks)


def names(path):
    with zipfile.ZipFile(path) as opened:
        return opened.namelist()


def test_it_holds_everything_but_the_weights(packed):
    planned, _, _, path = packed
    entries = names(path)
    assert path.parent.name == "archive"
    assert path.name.startswith("synthetic-")
    for name in ("report.html", "summary.csv", "summary.parquet", "cells.csv", "cells.parquet",
                 "environment/environment.json", "probe/smollm2.json", "models/smollm2.json",
                 "config.json", "requirements/run.txt", "manifest.json"):  # fmt: skip
        assert name in entries
    for ending, count in (("run.json", 3), ("requests.parquet", 3), ("failure.json", 1)):
        assert sum(name.endswith(ending) for name in entries) == count
    assert not [name for name in entries if "gguf" in name or name.endswith(".in")]
    with zipfile.ZipFile(path) as opened:
        assert json.loads(opened.read("config.json")) == json.loads(planned.model_dump_json())


def test_it_verifies(packed):
    assert verify(packed[3]) == len(names(packed[3])) - 1


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
    assert archive(planned, results, locks) == path
    assert path.read_bytes() == before


def test_other_inputs_another_name(packed, tmp_path):
    planned, results, _, path = packed
    assert archive(planned, results, tmp_path).name != path.name


def rewrite(source, target, edit):
    """A copy of an archive with `edit(files)` applied to its dict of name → bytes."""
    with zipfile.ZipFile(source) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    edit(files)
    with zipfile.ZipFile(target, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return target


def forge(files):
    """Change a file and the manifest, too."""
    manifest = json.loads(files["manifest.json"])
    files["cells.csv"] = b"forged"
    import hashlib

    manifest["files"]["cells.csv"] = hashlib.sha256(b"forged").hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda files: files.update({"cells.csv": b"other"}), r"cells\.csv is not as it was"),
        (lambda files: files.pop("report.html"), r"report\.html is in the manifest but missing"),
        (lambda files: files.update({"a-new.txt": b""}), r"a-new\.txt is in the archive but not"),
        (lambda files: files.pop("manifest.json"), r"has no manifest\.json"),
        (lambda files: files.update({"manifest.json": b"{"}), r"manifest\.json is damaged"),
        (lambda files: files.update({"manifest.json": b'{"files": 3}'}), "is damaged"),
        (forge, "digest in its name"),
    ],
    ids=["changed", "missing", "extra", "no manifest", "not JSON", "not a mapping", "forged"],
)
def test_any_change_is_named(packed, tmp_path, edit, message):
    broken = rewrite(packed[3], tmp_path / packed[3].name, edit)
    with pytest.raises(UserError, match=message):
        verify(broken)


def test_the_first_wrong_file_is_named(packed, tmp_path):
    def edit(files):
        files["summary.csv"] = files["cells.csv"] = b"other"

    with pytest.raises(UserError, match=r"cells\.csv"):
        verify(rewrite(packed[3], tmp_path / "x.zip", edit))


def test_a_flipped_bit_is_found(packed, tmp_path):
    data = bytearray(packed[3].read_bytes())
    data[data.index(b"smollm2.gguf")] ^= 1
    broken = tmp_path / "flipped.zip"
    broken.write_bytes(data)
    with pytest.raises(UserError, match=r"is not as it was archived"):
        verify(broken)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_no_archive_is_one_sentence(tmp_path, content):
    path = tmp_path / "some.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"some\.zip"):
        verify(path)


def test_without_a_page_it_says_what_to_run(tmp_path):
    planned = config(repeats=1)
    write_results(planned, tmp_path)
    with pytest.raises(UserError, match="mls report"):
        archive(planned, tmp_path)
