"""`make test-engines` itself: its entries are whole, and what isn't as expected is said."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path
from string import Template

import pytest
from tests.engines import __main__ as engines
from tests.engines.catalogue import ENGINES, KNOWLEDGE, Engine
from tests.engines.outcome import outcome
from tests.engines.pipeline import LOAD, server_section

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.settings import settings

REQUIREMENTS = Path(__file__).parents[1] / "engines" / "requirements"
PINNED = re.compile(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+")


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_its_config_is_valid(engine: Engine) -> None:
    server = server_section(engine, Path("/environment/bin")) | (
        {"port": 1} if engine.gateway else {}
    )
    config = parse_config({"models": {"smollm2": {"path": "tests"}}, "server": server, **LOAD})
    point = settings(config, cells(config)[0], 1).server
    assert point.engine == "command"
    assert not [word for word in point.command if "{bin}" in word or "{file}" in word]
    if engine.gateway:
        text = Template(engine.gateway).substitute(port=1, upstream="http://u", folder="f")
        assert "$" not in text


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_its_packages_are_pinned_and_of_no_index(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines and not [line for line in lines if not PINNED.fullmatch(line)]


def test_every_environment_has_requirements() -> None:
    names = {one.environment or one.name for one in ENGINES if not one.packages}
    assert names == {path.stem for path in REQUIREMENTS.glob("*.txt")}


def results(folder: Path, statuses: dict[str, str], slots: int | None) -> Path:
    """The results of one repeat. statuses: check → status."""
    run = {
        "verdicts": [{"check": name, "status": status} for name, status in statuses.items()],
        "summary": {
            "tokens": {"completion": 16},
            "overall": {"requests_per_s": 2.0, "completion_tokens_per_s": 32.0},
            "ttft_ms": {"mean": 50.0},
            "tpot_ms": {"mean": None},
            "tokens_per_chunk": 1.0,
        },
    }
    probe = {"prompt_tokens_measured": False, "ctx_per_slot": None, "build": None, "slots": slots}
    for path, content in (("runs/a/run.json", run), ("probe/smollm2.json", probe)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    return folder


ENGINE = Engine("one", ("serve",), frozenset({"usage", "books"}))


def test_an_engine_that_is_as_expected(tmp_path: Path) -> None:
    result = outcome(ENGINE, results(tmp_path, {"books_agree": "pass", "steady": "warn"}, None))
    assert (result.knows, result.problems) == (["usage", "books"], [])
    assert result.doubts == ["steady warns"]
    assert "TTFT 50 ms" in result.figures and "TPOT" not in result.figures


@pytest.mark.parametrize(
    ("statuses", "slots", "problem"),
    [
        ({"books_agree": "unknown"}, None, "books is unknown"),
        ({}, None, "books is unknown"),
        ({"books_agree": "pass"}, 4, "slots is known"),
        ({"books_agree": "fail"}, None, "books_agree fails"),
        ({"books_agree": "pass", "work_as_asked": "fail"}, None, "work_as_asked fails"),
    ],
)
def test_what_is_not_as_expected_is_said(
    tmp_path: Path, statuses: dict[str, str], slots: int | None, problem: str
) -> None:
    assert outcome(ENGINE, results(tmp_path, statuses, slots)).problems == [problem]


def test_all_that_is_expected_can_be_known() -> None:
    assert all(engine.knows <= {*KNOWLEDGE} for engine in ENGINES)


def test_a_second_one_at_once_is_told_so_before_it_builds_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both once filled one folder below build/engines."""
    monkeypatch.setattr(engines, "BUILD", tmp_path)
    monkeypatch.setattr(engines, "programs", lambda engine: pytest.fail("it builds"))
    path = tmp_path / "lock"
    path.write_text("4711\n")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert engines.main([]) == 2
    assert capsys.readouterr().err.startswith(
        "Another `make test-engines` (process 4711) is at work in "
    )
