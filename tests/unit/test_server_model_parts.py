"""Models in parts, as by gguf-split: all parts are the model, and keep their names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gguf_files import ELEMENTS, write_gguf

from mls.config.config import ModelSource
from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.core.files import write_json
from mls.server.weights.description import load_descriptor
from mls.server.weights.gguf import check_gguf
from mls.server.weights.model_files import PartName, local_sha256, part_name
from mls.server.weights.models import describe_model, fetch

NAMES = [f"tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return write_gguf(tmp_path / "parts", "tiny", tensors=6, parts=3)


def sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as error:
        call()
    return str(error.value)


def change(file: Path) -> None:
    """Change the weights, but not the size."""
    file.write_bytes(file.read_bytes()[:-64] + bytes(64))


def test_the_first_part_means_all(parts: list[Path], tmp_path: Path) -> None:
    assert [part.name for part in parts] == NAMES
    model = fetch("m", ModelSource(path=str(parts[0])), tmp_path / "models")
    assert model.path == str(parts[0])
    assert model.size == sum(part.stat().st_size for part in parts)
    assert model.gguf.n_params == 6 * ELEMENTS
    assert model.gguf.chat_template
    assert model.sha256 == sha256(*parts)
    assert [(part.path, part.sha256) for part in model.parts] == [
        (str(part), sha256(part)) for part in parts
    ]
    right = ModelSource(path=str(parts[0]), sha256=sha256(*parts))
    assert fetch("m", right, tmp_path / "models").parts == model.parts
    wrong = ModelSource(path=str(parts[0]), sha256=sha256(parts[0]))
    assert "over all 3 parts" in refusal(lambda: fetch("m", wrong, tmp_path))


def test_links_are_taken_by_their_own_names(parts: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    for part in parts:
        blob = part.rename(part.with_name(sha256(part)))
        (folder / part.name).symlink_to(blob)
    model = fetch("m", ModelSource(path=str(folder / NAMES[0])), tmp_path)
    assert [part.path for part in model.parts] == [str(folder / name) for name in NAMES]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_part_is_named(parts: list[Path], tmp_path: Path, missing: int) -> None:
    parts[missing].unlink()
    for call in (
        lambda: fetch("m", ModelSource(path=str(parts[0])), tmp_path),
        lambda: check_gguf(parts[0]),  # as `mls serve --model` does
    ):
        assert f"Model file {parts[missing]} is missing" in refusal(call)


def test_a_later_part_is_refused_with_the_first_ones_name(parts: list[Path]) -> None:
    message = refusal(lambda: check_gguf(parts[1]))
    assert f"{parts[1]} is part 2 of 3; give the first, {parts[0]}." in message


def test_parts_without_their_names_or_joined_are_no_model(parts: list[Path]) -> None:
    whole = parts[0].with_name("joined.gguf")
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    message = refusal(lambda: check_gguf(whole))
    assert f"{whole} is part 1 of 3" in message
    assert "doesn't end with -00001-of-00003.gguf" in message


def test_a_part_of_another_model_is_noticed(parts: list[Path], tmp_path: Path) -> None:
    other = write_gguf(tmp_path / "other", "tiny", tensors=3, parts=3)
    other[1].replace(parts[1])
    assert "they are not of one model" in refusal(lambda: check_gguf(parts[0]))
    other[2].replace(parts[1])
    assert "should be part 2 of 3, but is part 3 of 3" in refusal(lambda: check_gguf(parts[0]))
    write_gguf(tmp_path / "whole", "tiny")[0].replace(parts[1])
    assert "is no part of a model" in refusal(lambda: check_gguf(parts[0]))


def test_a_truncated_part_is_named(parts: list[Path]) -> None:
    parts[2].write_bytes(parts[2].read_bytes()[:-100])
    assert f"{parts[2]} (" in refusal(lambda: check_gguf(parts[0]))


def test_a_whole_model_may_be_named_as_a_part_is(tmp_path: Path) -> None:
    file = write_gguf(tmp_path, "tiny")[0].rename(tmp_path / NAMES[1])
    assert fetch("m", ModelSource(path=str(file)), tmp_path).path == str(file)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_part_is_noticed(parts: list[Path], tmp_path: Path, number: int) -> None:
    config = parse_config({"models": {"m": {"path": str(parts[0])}}})
    description = tmp_path / "m.json"
    write_json(description, describe_model("m", config, tmp_path))
    before = local_sha256(str(parts[0]), description)
    assert before == [sha256(part) for part in parts]

    os.utime(parts[number])  # another time, the same bytes
    load_descriptor(description)
    assert local_sha256(str(parts[0]), description) == before

    change(parts[number])
    assert f"{parts[number]} is missing or has changed" in refusal(
        lambda: load_descriptor(description)
    )
    now = local_sha256(str(parts[0]), description)
    assert [old == new for old, new in zip(before, now, strict=True)].count(False) == 1

    for part in parts:  # results stay when the weights are gone
        part.unlink()
    assert local_sha256(str(parts[0]), description) == before


def test_what_was_never_there_is_unknown(tmp_path: Path) -> None:
    assert local_sha256(str(tmp_path / NAMES[0]), tmp_path / "m.json") == [None] * 3
    assert local_sha256(str(tmp_path / "m.gguf"), tmp_path / "m.json") == [None]


def test_a_description_from_before_there_were_parts(tmp_path: Path) -> None:
    file = write_gguf(tmp_path, "tiny")[0]
    model = fetch("m", ModelSource(path=str(file)), tmp_path).model_dump(mode="json")
    del model["parts"]
    write_json(tmp_path / "m.json", model)
    assert load_descriptor(tmp_path / "m.json").path == str(file)
    change(file)
    assert "has changed" in refusal(lambda: load_descriptor(tmp_path / "m.json"))


def test_a_url_of_the_first_part_brings_all(
    parts: list[Path], tmp_path: Path, make_server: Any, reply: Any
) -> None:
    server = make_server({f"/m/{part.name}?of=me": reply(part.read_bytes()) for part in parts})
    source = ModelSource(url=f"{server.url}/m/{NAMES[0]}?of=me")
    folder = tmp_path / "models"
    model = fetch("big", source, folder)
    copies = [folder / f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert [part.path for part in model.parts] == [str(file) for file in copies]
    assert sha256(*copies) == model.sha256 == sha256(*parts)
    assert check_gguf(copies[0])
    assert sorted(folder.iterdir()) == [*copies, folder / "big.gguf.origin.json"]

    assert fetch("big", source, folder) == model
    assert len(server.seen) == 3
    change(copies[1])
    assert fetch("big", source, folder).sha256 == model.sha256
    assert len(server.seen) == 6


@pytest.mark.parametrize("file", [NAMES[0], NAMES])
def test_parts_of_a_hub_are_not_joined(
    parts: list[Path],
    tmp_path: Path,
    make_server: Any,
    reply: Any,
    monkeypatch: pytest.MonkeyPatch,
    file: str | list[str],
) -> None:
    replies = {f"/me/m/resolve/main/{part.name}": reply(part.read_bytes()) for part in parts}
    monkeypatch.setenv("HF_ENDPOINT", make_server(replies).url)
    source = ModelSource(hub_repo="me/m", file=file, sha256=sha256(*parts))
    model = fetch("m", source, tmp_path / "models")
    assert [sha256(Path(part.path)) for part in model.parts] == [sha256(p) for p in parts]
    assert fetch("m", source, tmp_path / "models") == model


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (NAMES[:2], "is the first of 3 parts by its header, but 2 are given"),
        ([NAMES[0], NAMES[2], NAMES[1]], "should be part 2 of 3, but is part 3 of 3"),
        (NAMES[1], "is part 2 of 3; give the first, tiny-00001-of-00003.gguf"),
        ("renamed.gguf", "but 1 is given; list all 3 as `file`"),
    ],
)
def test_parts_that_are_not_as_needed_leave_nothing(
    parts: list[Path],
    tmp_path: Path,
    make_server: Any,
    reply: Any,
    monkeypatch: pytest.MonkeyPatch,
    file: str | list[str],
    words: str,
) -> None:
    bodies = {part.name: part.read_bytes() for part in parts}
    bodies["renamed.gguf"] = bodies[NAMES[0]]
    replies = {f"/me/m/resolve/main/{name}": reply(body) for name, body in bodies.items()}
    monkeypatch.setenv("HF_ENDPOINT", make_server(replies).url)
    folder = tmp_path / "models"
    source = ModelSource(hub_repo="me/m", file=file)
    assert words in refusal(lambda: fetch("m", source, folder))
    assert not folder.exists() or list(folder.iterdir()) == []


@given(st.text(), st.integers(1, 99_999), st.integers(1, 99_999))
def test_a_parts_name_comes_back(prefix: str, number: int, count: int) -> None:
    name = PartName(prefix, number, count)
    assert part_name(name.of(number)) == name


@pytest.mark.parametrize("name", ["m.gguf", "m-1-of-3.gguf", "m-00001-of-00003.gguf.part", ""])
def test_names_that_are_no_parts(name: str) -> None:
    assert part_name(name) is None
