"""Lengths from a file, against the slots of the server under test."""

import json

import pytest

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.load.workload.preparation import prepare
from mls.server.api import ServerApi

CONTEXT = 100
TOKEN_BYTES = 4


@pytest.fixture
def server(make_server, reply):
    """A server with one slot of 100 tokens, each of four bytes."""
    props = {"total_slots": 1, "default_generation_settings": {"n_ctx": CONTEXT}}

    def tokenize(request):
        tokens = len(json.loads(request.body)["content"]) // TOKEN_BYTES
        return reply(json.dumps({"tokens": list(range(tokens))}).encode())

    return make_server({"/props": reply(json.dumps(props).encode()), "/tokenize": tokenize})


def prepare_cell(server, tmp_path, **keys):
    config = parse_config({"models": {"m": {}}, "server": {"url": server.url}, **keys})
    cell_settings = settings(config, cells(config)[0], 1)
    return prepare(cell_settings, 1, tmp_path, ServerApi(server.url), None)


@pytest.mark.parametrize("reply_tokens", [40, 41])
def test_a_row_of_a_dataset_that_no_slot_can_hold(server, tmp_path, reply_tokens):
    path = tmp_path / "prompts.jsonl"
    texts = ["short", "b" * (CONTEXT - 40), "long" * 60]
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    keys = {
        "run": {"iters": 3, "max_tokens": reply_tokens},
        "workload": {"kind": "dataset", "file": str(path)},
    }
    if reply_tokens == 40:
        assert len(prepare_cell(server, tmp_path, **keys).rows) == 3
        return
    with pytest.raises(UserError) as error:
        prepare_cell(server, tmp_path, **keys)
    assert str(error.value) == (
        f"workload.file: {path} has a prompt of 60 tokens ({('long' * 10)!r}…), which with a reply "
        "of 41 needs 101, and a slot has 100; raise the context, or set workload.max_prompt_tokens."
    )


@pytest.mark.parametrize(
    ("workload", "row", "reason"),
    [
        ({}, (70, 9), None),  # built-in prompts: the trace's lengths are not used
        ({"output_tokens": "trace"}, (1, 101), "a reply of 101"),
        ({"output_tokens": "trace"}, (101, 100), None),
    ],
)
def test_a_row_of_a_trace_that_no_slot_can_hold(server, tmp_path, workload, row, reason):
    path = tmp_path / "trace.csv"
    prompt, output = row
    path.write_text(f"time,prompt_tokens,output_tokens\n0,5,5\n1,{prompt},{output}\n2,5,5\n")
    keys = {"load": {"kind": "trace", "file": str(path)}, "workload": workload}
    if reason is None:
        assert len(prepare_cell(server, tmp_path, **keys).trace.at_s) == 3
        return
    with pytest.raises(UserError) as error:
        prepare_cell(server, tmp_path, **keys)
    assert str(error.value) == (
        f"load.file: row 2 of {path} needs 101 tokens ({reason}), and a slot has 100; "
        "raise the context, or leave such rows out."
    )


def test_a_row_of_a_trace_is_named_by_its_place_in_the_file(server, tmp_path):
    """Failed requests before the row are left out, and still count."""
    path = tmp_path / "trace.csv"
    path.write_text("time,output_tokens\n0,0\n1,5\n2,101\n")
    keys = {"load": {"kind": "trace", "file": str(path)}, "workload": {"output_tokens": "trace"}}
    with pytest.raises(UserError, match=f"row 3 of {path} needs"):
        prepare_cell(server, tmp_path, **keys)
