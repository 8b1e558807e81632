"""Damaged repeats are found by digest and set aside, each with a sentence; others stay."""

import os

import pytest
from tests.unit.damage import change, corrupt, truncate
from tests.unit.synthetic import config, write_repeat

from mls.config.cells import cells
from mls.core.errors import UserError
from mls.core.integrity import intact_result, set_aside_damaged
from mls.core.run_folder import ASIDE


@pytest.fixture
def folders(tmp_path):
    sweep = config(repeats=3)
    return [write_repeat(sweep, tmp_path, cells(sweep)[0], number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "requests.parquet is not what run.json was made from"),
        (corrupt, "run.json is corrupt"),
        (change("schema_version", 0), "run.json has schema version 0"),
        (lambda folder: (folder / "requests.parquet").unlink(), "requests.parquet is missing"),
    ],
)
def test_a_damaged_repeat_counts_as_not_measured(folders, damage, message):
    (folders[2] / "run.json").unlink()  # not measured yet
    damage(folders[1])
    before = (folders[1] / "run.json").read_bytes()
    (sentence,) = set_aside_damaged(folders)
    assert sentence.startswith(str(folders[1])) and message in sentence
    assert not (folders[1] / "run.json").exists()
    assert (folders[1] / ASIDE).read_bytes() == before
    assert intact_result(folders[0]).repeat == 1
    assert set_aside_damaged(folders) == []


def test_of_what_cannot_be_set_aside_the_user_is_told(folders, monkeypatch):
    corrupt(folders[0])

    def refuse(*_, **__):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(UserError, match=r"run\.damaged\.json can't be written .*Read-only"):
        set_aside_damaged(folders)
