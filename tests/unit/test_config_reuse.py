"""`server.reuse`: which configs may have it, and what it is of."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.settings import settings
from mls.core.errors import UserError

COMMAND = {"engine": "command", "command": ["serve", "{port}"], "reuse": "cell"}


def shared(**data: Any) -> list[bool]:
    """Whether the repeats of each cell share a process."""
    config = parse_config({"models": {"m": {"path": "m"}}, "server": COMMAND} | data)
    return [settings(config, cell, 1).server.shared for cell in cells(config)]


def test_a_process_for_each_repeat_is_the_default() -> None:
    assert shared(server={}) == [False]


@pytest.mark.parametrize(
    "server",
    [COMMAND, {"reuse": "cell"}, {"reuse": "cell", "engine": "llama-server", "binary": "b"}],
)
def test_any_managed_engine_may_be_shared(server: dict[str, Any]) -> None:
    assert shared(server=server) == [True]


def test_a_model_may_have_it_alone() -> None:
    models = {"large": {"path": "m", "server": {"reuse": "cell"}}, "small": {"path": "n"}}
    assert shared(models=models, server={}, sweep={"model": ["large", "small"]}) == [True, False]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"server": {"url": "http://h", "reuse": "cell"}},
            "`reuse` is of servers that are started",
        ),
        ({"server": {"reuse": "sweep"}}, "server.reuse"),
        ({"repeats": "auto"}, "server.reuse: cell goes with a number of repeats that is known"),
        ({"search": {"axis": "inflight", "high": 8}}, "beforehand, not with search"),
        ({"sweep": {"reuse": ["cell", "repeat"]}}, "sweep.reuse"),
    ],
)
def test_what_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        shared(**data)
