"""Traces: read as they are, and bad ones refused in one sentence."""

import json

import numpy as np
import pytest

from mls.config.sections.load import Load
from mls.core.errors import UserError
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import schedule
from mls.load.workload.traces import read_trace


def trace(tmp_path, text, name="trace.csv", **keys):
    path = tmp_path / name
    path.write_text(text)
    return Load(kind="trace", file=str(path), **keys)


def test_csv_and_jsonl_give_the_same(tmp_path):
    rows = [(5.0, 10, 3), (5.5, 20, 4), (7.25, 30, 5)]
    text = "time,prompt_tokens,output_tokens\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    keys = ("time", "prompt_tokens", "output_tokens")
    lines = "\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows)
    for load in (trace(tmp_path, text), trace(tmp_path, lines + "\n\n", "trace.jsonl")):
        content = read_trace(load)
        assert content.at_s.tolist() == [0, 0.5, 2.25]
        assert content.prompt_tokens.tolist() == [10, 20, 30]
        assert content.output_tokens.tolist() == [3, 4, 5]


def test_columns_and_units_are_the_configs(tmp_path):
    text = '{"timestamp": 27000, "input_length": 6755}\n{"timestamp": 30000, "input_length": 7319}'
    columns = {"time": "timestamp", "prompt_tokens": "input_length"}
    content = read_trace(trace(tmp_path, text, "t.jsonl", columns=columns, time_unit="ms"))
    assert content.at_s.tolist() == [0, 3] and content.prompt_tokens.tolist() == [6755, 7319]
    assert content.output_tokens is None


def test_large_timestamps_keep_their_digits(tmp_path):
    text = "time\n1700000000000000000\n1700000000000256000\n"
    content = read_trace(trace(tmp_path, text, time_unit="ns"))
    assert content.at_s.tolist() == pytest.approx([0, 256e-6])


def test_speed_factor_2_halves_the_span(tmp_path):
    times = np.cumsum(np.random.default_rng(1).exponential(0.01, 1000))
    text = "time\n" + "\n".join(f"{t:.6f}" for t in times)
    spans = []
    for speed in (1.0, 2.0):
        load = trace(tmp_path, text, speed=speed)
        made = schedule(load, 1, None, None, read_trace(load))
        assert len(made) == 1000
        spans.append(made.at_ns[-1] - made.at_ns[0])
    assert spans[0] == pytest.approx((times[-1] - times[0]) * NS_PER_S, abs=2000)
    assert spans[1] == pytest.approx(spans[0] / 2, abs=1)


def test_a_trace_can_be_cut(tmp_path):
    load = trace(tmp_path, "time\n0\n1\n2\n3\n")
    read = read_trace(load)
    assert len(schedule(load, 1, 3, None, read)) == 3
    assert len(schedule(load, 1, None, 1.5, read)) == 2


@pytest.mark.parametrize(
    "name, text, keys, sentence",
    [
        ("t.csv", "time\n1\n3\n2\n", {}, "row 3 of {path} has time 2 after 3; sort the trace"),
        ("t.csv", "when\n1\n", {}, "{path} has no column 'time'; it has when."),
        (
            "t.csv",
            "time\n1\n",
            {"columns": {"prompt_tokens": "n"}},
            "load.columns.prompt_tokens: {path} has no column 'n'; it has time.",
        ),
        ("t.csv", "time\n1\nsoon\n", {}, "row 2 of {path} has time 'soon'; expected a number."),
        ("t.csv", "time\n", {}, "{path} has no rows."),
        ("t.jsonl", "", {}, "{path} has no rows."),
        ("t.jsonl", "[1]\n", {}, "row 1 of {path} is not a JSON object."),
        ("t.jsonl", "{oops\n", {}, "{path} is not JSON Lines"),
        ("t.txt", "1\n", {}, "{path} must end in .csv or .jsonl."),
        (
            "t.csv",
            "time,prompt_tokens\n1,0\n",
            {},
            "{path} must have a whole number of at least 1 as prompt_tokens in every row.",
        ),
    ],
)
def test_a_bad_trace_is_one_sentence(tmp_path, name, text, keys, sentence):
    load = trace(tmp_path, text, name, **keys)
    with pytest.raises(UserError) as error:
        read_trace(load)
    assert sentence.format(path=tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_trace_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_trace(Load(kind="trace", file=str(tmp_path / "none.csv")))
