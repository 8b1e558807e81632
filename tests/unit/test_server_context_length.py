"""Slots and context against the cells of a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import parse_config
from mls.config.settings import Settings, settings
from mls.core.errors import UserError
from mls.server.context_length import check_context, slots_warning


def sweep(**keys: Any) -> tuple[Config, list[Settings]]:
    config = parse_config({"models": {"m": {"path": "m.gguf"}}, **keys})
    return config, [settings(config, cell, 1) for cell in cells(config)]


def test_context_that_just_fits() -> None:
    config, points = sweep(run={"max_tokens": 64})
    check_context(config, points, {48: 100}, 164)
    with pytest.raises(UserError, match="need 164, and a slot has 163"):
        check_context(config, points, {48: 100}, 163)


def test_the_cell_that_does_not_fit_is_named() -> None:
    config, points = sweep(sweep={"max_tokens": [10, 1000]})
    with pytest.raises(UserError, match=r"max_tokens~1000"):
        check_context(config, points, {48: 100}, 512)


def test_swept_slots_share_their_own_context() -> None:
    config, points = sweep(sweep={"parallel": [1, 8]}, server={"ctx": 1024})
    with pytest.raises(UserError, match=r"parallel~8.*a slot has 128"):
        check_context(config, points, {48: 100}, 1024)


def test_lengths_in_tokens_are_known_and_not_estimated() -> None:
    lengths = {"distribution": "uniform", "min": 5, "max": 900}
    config, points = sweep(workload={"kind": "synthetic", "prompt_tokens": lengths})
    check_context(config, points, {48: 100}, 900 + points[0].run.max_tokens)
    with pytest.raises(
        UserError, match=r"a prompt of up to 900 tokens.* lower workload\.prompt_tokens"
    ):
        check_context(config, points, {48: 100}, 900)


def test_unknown_context_is_not_an_error() -> None:
    config, points = sweep()
    check_context(config, points, {48: 10**6}, None)


def test_requests_that_queue_are_warned_of() -> None:
    config, points = sweep(sweep={"inflight": [2, 4, 9]})
    assert slots_warning(config, points, 9, 1) == []
    assert slots_warning(config, points, None, 1) == []
    (warning,) = slots_warning(config, points, 4, 1)
    assert "Inflight 9 on 4 slots: 5 requests" in warning
    urls = {"urls": ["http://a", "http://b"]}
    config, points = sweep(sweep={"inflight": [2, 4, 9]}, server=urls)
    (warning,) = slots_warning(config, points, 4, 2)
    assert "Inflight 9 on 8 slots: 1 requests" in warning


def test_slots_are_those_of_the_cells_own_fleet() -> None:
    config, points = sweep(
        sweep={"fleet": [1, 2], "parallel": [2, 4], "inflight": [9]}, server={"ctx": 4096}
    )
    (warning,) = slots_warning(config, points, 2, 1)  # the worst of all
    assert "Inflight 9 on 2 slots: 7 requests" in warning
    (warning,) = slots_warning(config, points[-1:], 2, 1)
    assert "Inflight 9 on 8 slots: 1 requests" in warning


ANY = {"engine": "command", "command": ["serve", "{port}"]}


def test_slots_of_any_server_are_what_it_says() -> None:
    config, points = sweep(sweep={"inflight": [9]}, server=ANY)
    assert slots_warning(config, points, None, 1) == []
    (warning,) = slots_warning(config, points, 4, 1)
    assert "Inflight 9 on 4 slots" in warning


def test_a_word_of_the_command_may_make_another_server() -> None:
    server = ANY | {"command": ["serve", "{port}", "{seqs}"]}
    config, points = sweep(sweep={"seqs": [4, 16], "inflight": [9]}, server=server)
    (warning,) = slots_warning(config, points, 4, 1)
    assert "Inflight 9 on 4 slots" in warning
    assert slots_warning(config, points, 9, 1) == []
    config, points = sweep(sweep={"seqs": [4, 16], "max_tokens": [10, 90]}, server=server)
    check_context(config, points[:1] + points[2:], {48: 100}, 120)
    with pytest.raises(UserError, match=r"max_tokens~90.*and a slot has 120; raise the context"):
        check_context(config, points, {48: 100}, 120)


def test_slots_and_context_that_the_command_passes_on() -> None:
    server = ANY | {"command": ["serve", "{port}", "{parallel}", "{ctx}"]}
    axes = {"parallel": [2, 4], "ctx": [512, 128], "inflight": [3]}
    config, points = sweep(sweep=axes, server=server)
    (warning,) = slots_warning(config, points, None, 1)
    assert "Inflight 3 on 2 slots" in warning
    check_context(config, points[:1], {48: 100}, None)  # 512 in all, or for each: who knows
    with pytest.raises(UserError, match=r"ctx~128.*need 164, and a slot has 128; raise"):
        check_context(config, points, {48: 100}, None)
