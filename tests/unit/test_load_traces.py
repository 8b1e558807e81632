"""Traces are read as they are; a bad one is one sentence."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.load import Load
from mls.core.errors import UserError
from mls.core.units import NS_PER_S
from mls.load.workload.schedule import schedule
from mls.load.workload.traces import read_trace


def trace_load(tmp_path, text, name="trace.csv", **keys):
    path = tmp_path / name
    path.write_text(text)
    return Load(kind="trace", file=str(path), **keys)


def test_csv_and_jsonl_give_the_same(tmp_path):
    rows = [(5.0, 10, 3), (5.5, 20, 4), (7.25, 30, 5)]
    text = "time,prompt_tokens,output_tokens\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    keys = ("time", "prompt_tokens", "output_tokens")
    lines = "\n".join(json.dumps(dict(zip(keys, row, strict=True))) for row in rows)
    for load in (trace_load(tmp_path, text), trace_load(tmp_path, lines + "\n\n", "trace.jsonl")):
        trace = read_trace(load)
        assert trace.at_s.tolist() == [0, 0.5, 2.25]
        assert trace.prompt_tokens.tolist() == [10, 20, 30]
        assert trace.output_tokens.tolist() == [3, 4, 5]


def test_columns_and_units_are_the_configs(tmp_path):
    text = '{"timestamp": 27000, "input_length": 6755}\n{"timestamp": 30000, "input_length": 7319}'
    columns = {"time": "timestamp", "prompt_tokens": "input_length"}
    trace = read_trace(trace_load(tmp_path, text, "t.jsonl", columns=columns, time_unit="ms"))
    assert trace.at_s.tolist() == [0, 3] and trace.prompt_tokens.tolist() == [6755, 7319]
    assert trace.output_tokens is None


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-15 23:59:59.9999990,374,44
2023-11-16 00:00:00,396,109
2023-11-16 00:00:01.2500000,879,55
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00+00:00,2162,5
2024-05-10 00:00:00.009930+00:00,2399,6
"""
BURST_GPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3052, "input_length": 7319, "output_length": 490, "hash_ids": [0, 2]}
"""
BAILIAN = """{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1089, 1090]}
{"chat_id": 161, "parent_chat_id": 159, "timestamp": 61.364, "input_length": 2, "output_length": 6, "type": "search", "turn": 2, "hash_ids": [1089]}
"""  # its times are in s


@pytest.mark.parametrize(
    "name, text, at_s, prompts, replies",
    [
        ("t.csv", AZURE, [0, 1e-6, 1.250001], [374, 396, 879], [44, 109, 55]),
        ("t.csv", AZURE_2024, [0, 0.00993], [2162, 2399], [5, 6]),
        ("t.csv", BURST_GPT, [0, 113], [472, 417], [18, 276]),
        ("t.jsonl", MOONCAKE, [0, 3.052], [6755, 7319], [500, 490]),
        ("t.jsonl", BAILIAN, [0, 0.25], [521, 2], [132, 6]),
    ],
    ids=["azure", "azure-2024", "burst-gpt", "mooncake", "bailian"],
)
def test_published_traces_are_recognized(tmp_path, name, text, at_s, prompts, replies):
    trace = read_trace(trace_load(tmp_path, text, name))
    assert trace.at_s.tolist() == pytest.approx(at_s, abs=1e-9)
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == (prompts, replies)


def test_the_configs_columns_and_unit_take_precedence(tmp_path):
    columns = {"time": "timestamp", "prompt_tokens": "output_length"}
    trace = read_trace(trace_load(tmp_path, MOONCAKE, "t.jsonl", columns=columns))
    assert trace.at_s.tolist() == [0, 3052] and trace.prompt_tokens.tolist() == [500, 490]
    assert trace.output_tokens is None
    trace = read_trace(trace_load(tmp_path, MOONCAKE, "t.jsonl", time_unit="us"))
    assert trace.at_s.tolist() == [0, 0.003052]
    trace = read_trace(trace_load(tmp_path, AZURE, time_unit="ns"))  # dates have no unit
    assert trace.at_s.tolist() == pytest.approx([0, 1e-6, 1.250001])


def test_a_row_unlike_the_formats_header_is_named(tmp_path):
    text = BAILIAN + '{"chat_id": 162, "timestamp": 62, "input_length": 7}'
    with pytest.raises(UserError, match=r"row 3 of .* has output_length None; expected a whole"):
        read_trace(trace_load(tmp_path, text, "t.jsonl"))
    with pytest.raises(UserError, match="has no column 'time'; it has chat_id, timestamp"):
        read_trace(trace_load(tmp_path, '{"chat_id": 1, "timestamp": 61.1}', "t.jsonl"))


def test_a_failed_request_is_left_out_and_said(tmp_path):
    trace = read_trace(trace_load(tmp_path, BURST_GPT))
    assert trace.row.tolist() == [1, 3]
    assert trace.notes == (
        f"load.file: {tmp_path / 'trace.csv'} is used in part: 1 of 3 rows can't be used "
        "(the first: row 2, Response tokens is 0, as of a request that failed).",
    )


def test_prefixes_that_are_not_shared_are_said(tmp_path):
    trace = read_trace(trace_load(tmp_path, MOONCAKE, "t.jsonl"))
    assert trace.notes == (
        f"load.file: hash_ids of {tmp_path / 't.jsonl'} are not used: prompts don't share their "
        "beginnings as those of the trace did (workload.kind blocks makes them do).",
    )


def test_a_header_with_two_meanings_is_read_as_the_one_that_is_said(tmp_path):
    """guidellm has Mooncake's names for times in s."""
    text = '{"timestamp": 0, "input_length": 9, "output_length": 1}\n' * 2
    (note,) = read_trace(trace_load(tmp_path, text, "t.jsonl")).notes
    assert "is read as ms" in note and "set load.time_unit to s" in note
    assert read_trace(trace_load(tmp_path, text, "t.jsonl", time_unit="s")).notes == ()


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.lists(st.integers(0, 10**12), max_size=10),
    st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))]),
    st.sampled_from([" ", "T"]),
)
def test_dates_are_seconds_to_the_microsecond(tmp_path_factory, first, gaps_us, zone, separator):
    moments = [first.replace(tzinfo=zone)]
    for gap in gaps_us:
        moments.append(moments[-1] + timedelta(microseconds=gap))
    path = tmp_path_factory.getbasetemp() / "dates.csv"
    path.write_text("\n".join(["time", *(each.isoformat(separator) for each in moments)]))
    trace = read_trace(Load(kind="trace", file=str(path)))
    assert trace.at_s.tolist() == [us / 1e6 for us in accumulate(gaps_us, initial=0)]


@pytest.mark.parametrize("zone", [" UTC", " GMT", "Z", "+00:00", " +00:00"])
def test_dates_as_databases_write_them(tmp_path, zone):
    text = f"time\n2023-11-16 18:15:00.1234567{zone}\n2023-11-16 18:15:01.6234567{zone}\n"
    assert read_trace(trace_load(tmp_path, text)).at_s.tolist() == [0, 1.5]


def test_large_timestamps_keep_their_digits(tmp_path):
    text = "time\n1700000000000000000\n1700000000000256000\n"
    trace = read_trace(trace_load(tmp_path, text, time_unit="ns"))
    assert trace.at_s.tolist() == pytest.approx([0, 256e-6])


def test_speed_factor_2_halves_the_span(tmp_path):
    times = np.cumsum(np.random.default_rng(1).exponential(0.01, 1000))
    text = "time\n" + "\n".join(f"{t:.6f}" for t in times)
    spans = []
    for speed in (1.0, 2.0):
        load = trace_load(tmp_path, text, speed=speed)
        arrivals = schedule(load, 1, None, None, read_trace(load))
        assert len(arrivals) == 1000
        spans.append(arrivals.at_ns[-1] - arrivals.at_ns[0])
    assert spans[0] == pytest.approx((times[-1] - times[0]) * NS_PER_S, abs=2000)
    assert spans[1] == pytest.approx(spans[0] / 2, abs=1)


def test_a_trace_can_be_cut(tmp_path):
    load = trace_load(tmp_path, "time\n0\n1\n2\n3\n")
    trace = read_trace(load)
    assert len(schedule(load, 1, 3, None, trace)) == 3
    assert len(schedule(load, 1, None, 1.5, trace)) == 2


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
        (
            "t.csv",
            "time\nsoon\n",
            {},
            "row 1 of {path} has time 'soon'; expected a number or a date.",
        ),
        (
            "t.csv",
            "time\nnan\n",
            {},
            "row 1 of {path} has time 'nan'; expected a number or a date.",
        ),
        (
            "t.csv",
            "time\n1\nsoon\n",
            {},
            "row 2 of {path} has time 'soon'; expected a number as in",
        ),
        (
            "t.csv",
            "time\n2024-05-10\n5\n",
            {},
            "row 2 of {path} has time '5'; expected a date without an offset as in row 1.",
        ),
        (
            "t.csv",
            "time\n2024-05-10 00:00Z\n2024-05-10 00:01\n",
            {},
            "row 2 of {path} has time '2024-05-10 00:01'; expected a date with an offset as in row 1.",
        ),
        (
            "t.csv",
            "time\n2024-05-10 00:01\n2024-05-10\n",
            {},
            "row 2 of {path} has time 2024-05-10 after 2024-05-10 00:01; sort the trace by time.",
        ),
        ("t.csv", "time\n", {}, "{path} has no rows."),
        ("t.jsonl", "", {}, "{path} has no rows."),
        ("t.jsonl", "[1]\n", {}, "row 1 of {path} is not a JSON object."),
        ("t.jsonl", "{oops\n", {}, "row 1 of {path} is not JSON in UTF-8"),
        ("t.txt", "1\n", {}, "{path} must end in .jsonl, .json, .csv"),
        (
            "t.csv",
            "time,prompt_tokens\n1,0\n",
            {},
            "{path} is not as expected: 1 of 1 rows can't be used (the first: row 1, "
            "prompt_tokens is 0, as of a request that failed); at least half of them must be usable.",
        ),
        (
            "t.csv",
            "time,prompt_tokens\n1,5\n2,-1\n",
            {},
            "row 2 of {path} has prompt_tokens '-1'; expected a whole number of tokens.",
        ),
        (
            "t.jsonl",
            '{"time": 1, "output_tokens": 5}\n{"time": 2}\n',
            {},
            "row 2 of {path} has output_tokens None; expected a whole number of tokens.",
        ),
    ],
)
def test_a_bad_trace_is_one_sentence(tmp_path, name, text, keys, sentence):
    load = trace_load(tmp_path, text, name, **keys)
    with pytest.raises(UserError) as error:
        read_trace(load)
    assert sentence.format(path=tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_trace_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_trace(Load(kind="trace", file=str(tmp_path / "none.csv")))


def test_requests_of_sessions_are_sent_by_their_times_and_the_run_says_so(tmp_path):
    path = tmp_path / "t.jsonl"
    row = {"timestamp": 0, "input_length": 4, "output_length": 2, "session_id": "a"}
    path.write_text("\n".join(json.dumps(row | {"timestamp": at}) for at in (0, 5)))
    trace = read_trace(Load(kind="trace", file=str(path)))
    assert trace.sessions is None and trace.at_s.tolist() == [0, 0.005]
    assert any("workload.file (kind blocks)" in note for note in trace.notes)
    path.write_text(json.dumps({"id": "trace_0001", "requests": []}))
    with pytest.raises(UserError, match=r"has no column 'time'; .*goes into workload.file"):
        read_trace(Load(kind="trace", file=str(path)))
