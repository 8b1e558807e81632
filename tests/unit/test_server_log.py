"""The line of a log with the reason of a server's end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mls.protocol.request import Target
from mls.server.engine.log import decisive_line, hide, how_it_ended

LOADING = "0.00.074.900 I srv    load_model: loading model 'm.gguf'\n"
FOLLOWS = (
    "0.00.075.451 E srv          init: exiting due to model loading error\nRuntimeError: Failed\n"
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "0.00.075.005 E llama_model_load: error loading model: data is not within the file bounds, "
            "model is corrupted or incomplete",
            "llama_model_load: error loading model: data is not within the file bounds, "
            "model is corrupted or incomplete",
        ),
        (
            "0.28.970.645 E alloc_buffer: failed to allocate buffer of size 46",
            "alloc_buffer: failed to allocate buffer of size 46",
        ),
        ("ggml_cuda: CUDA error: no kernel image", "ggml_cuda: CUDA error: no kernel image"),
    ],
)
def test_cause_comes_before_its_consequences(tmp_path: Path, line: str, words: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"{LOADING}{line}\n{FOLLOWS}")
    assert decisive_line(log) == words


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "(Worker pid=3) ERROR 11-28 02:43:02 [multiproc_executor.py:1063]     raise ValueError(\n"
            "(Worker pid=3) ERROR 11-28 02:43:02 [multiproc_executor.py:1063] ValueError: Available "
            "memory on node 0 is less than requested\n"
            "RuntimeError: Worker failed with error\n",
            "ValueError: Available memory on node 0 is less than requested",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, User-specified max_model_len (999999) is greater\n",
            "Value error, User-specified max_model_len (999999) is greater",
        ),
        (
            "usage: vllm [-h]\nvllm: error: unrecognized arguments: --foo\n",
            "vllm: error: unrecognized arguments: --foo",
        ),
    ],
    ids=["logged", "pydantic", "arguments"],
)
def test_the_cause_in_a_servers_log_of_tracebacks(tmp_path: Path, lines: str, words: str) -> None:
    log = tmp_path / "log"
    log.write_text(
        "(APIServer pid=1) WARNING 11-28 02:42:15 [system_utils.py:255] This can cause fd limit "
        f"errors like `OSError: [Errno 24] Too many open files`\nTraceback (most recent call last):\n{lines}"
    )
    assert decisive_line(log) == words


def test_nothing_stands_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOADING)
    assert decisive_line(log) is None
    assert decisive_line(tmp_path / "none") is None


def test_very_long_lines_are_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("error: " + "x" * 10_000)
    assert len(decisive_line(log) or "") < 300


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "exit status 3"), (-9, "out of memory"), (-11, "crashed (SIGSEGV)"), (-15, "was ended")],
)
def test_how_it_ended(status: int, words: str) -> None:
    assert words in how_it_ended(status)


def test_keys_are_overwritten_in_place(tmp_path):
    log = tmp_path / "log"
    log.write_text("args: api_key='s3cret/a' s3cret%2Fa\nerror: s3cret/a is no key\n")
    secrets = Target("", "s3cret/a").secrets
    assert decisive_line(log, secrets) == "error: *** is no key"
    hide(log, secrets)
    assert log.read_text() == "args: api_key='********' **********\nerror: ******** is no key\n"


@pytest.mark.parametrize("data", [None, b""])
def test_a_log_without_content_has_no_keys(tmp_path, data):
    log = tmp_path / "log"
    if data is not None:
        log.write_bytes(data)
    hide(log, ["s3cret"])
    assert log.exists() is (data is not None)
