"""From exchanges to tables of request records."""

import hashlib

import orjson
import pytest
from tests.unit.exchanges import BUILDER, LAG_NS, START_NS, STEP_NS, exchange

from mls.core.record import REQUESTS
from mls.load.records import records
from mls.protocol.request import Attributes


def token(text, reason=None):
    chunk = {"choices": [{"delta": {"content": text}, "finish_reason": reason}]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def good(job=0):
    end = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    return exchange(
        token("a"), token("b", "stop"), b"data: " + orjson.dumps(end) + b"\n\n", job=job
    )


def row(reply, **options):
    (table,) = records([reply], BUILDER, rank=3, keep_output=options.pop("keep", False), **options)
    (record,) = table.to_pylist()
    return record


def test_times_of_a_good_reply():
    record = row(good())
    assert record["chunk_ns"] == [START_NS + STEP_NS, START_NS + 2 * STEP_NS]
    assert record["chunk_lag_ns"] == [LAG_NS, LAG_NS]
    assert record["chunk_merged"] == [False, False]
    assert (record["first_chunk_ns"], record["last_chunk_ns"]) == tuple(record["chunk_ns"])
    assert record["end_ns"] == START_NS + 3 * STEP_NS and record["start_ns"] == START_NS
    assert record["connected_ns"] is None and record["error"] is None
    assert (record["chunks"], record["completion_tokens"], record["prompt_tokens"]) == (2, 2, 9)
    assert (record["rank"], record["slot"], record["status"], record["attempts"]) == (3, 0, 200, 1)


def test_clock_of_another_host_is_brought_to_rank_0s():
    here, there = row(good()), row(good(), to_rank0=lambda time_ns: time_ns - 500)
    for name in ("scheduled_ns", "start_ns", "first_chunk_ns", "last_chunk_ns", "end_ns"):
        assert there[name] == here[name] - 500
    assert there["chunk_ns"] == [time - 500 for time in here["chunk_ns"]]
    assert there["connected_ns"] is None  # no connection was opened, on any clock
    assert there["chunk_lag_ns"] == here["chunk_lag_ns"]


def test_failed_requests_are_rows_as_well():
    reply = exchange(status=0, event_stream=False)
    reply.fail("refused", "Connection refused", START_NS + 7)
    record = row(reply)
    assert (record["error"], record["error_text"]) == ("refused", "Connection refused")
    assert record["status"] is None and record["chunk_ns"] == [] and record["chunks"] == 0
    assert record["first_chunk_ns"] is None and record["end_ns"] == START_NS + 7
    assert record["completion_tokens"] is None and record["output_sha256"] is None


def test_output_is_kept_only_on_request():
    digest = hashlib.sha256(b"ab").hexdigest()
    assert row(good()) | {"output": "ab"} == row(good(), keep=True)
    assert row(good())["output"] is None and row(good())["output_sha256"] == digest


def test_figures_of_the_text_are_kept_without_it():
    record = row(good())
    assert (record["text_characters"], record["loop_characters"], record["output"]) == (2, 0, None)
    echo = row(exchange(token(f"user: {BUILDER.opening(0)}", "stop")))
    assert echo["echoes_prompt"] and not record["echoes_prompt"]
    garbled = row(exchange(token("a\ufffdb \ufffd", "length")))
    assert garbled["garbage_characters"] == 1
    failure = row(exchange(token("a")))
    assert failure["error"] == "closed_early" and failure["text_characters"] is None


def test_tables_have_the_schema_even_without_a_request():
    for exchanges in ([], [good()]):
        (table,) = records(exchanges, BUILDER, rank=0, keep_output=False)
        assert table.schema == REQUESTS and table.num_rows == len(exchanges)


def test_long_replies_make_several_tables_and_lose_no_request():
    long = [exchange(*[token("a")] * 30_000, job=job) for job in range(5)]
    tables = list(records(long, BUILDER, rank=0, keep_output=False))
    assert [table["job"].to_pylist() for table in tables] == [[0, 1], [2, 3], [4]]
    assert {chunks for table in tables for chunks in table["chunks"].to_pylist()} == {30_000}


def thinking(*deltas, **usage):
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
    return exchange(*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks))


def test_the_first_answer_has_its_own_moment():
    record = row(thinking({"reasoning": "Hm"}, {"reasoning": "."}, {"content": "Yes"}))
    assert record["first_chunk_ns"] == START_NS + STEP_NS
    assert record["first_answer_ns"] == START_NS + 3 * STEP_NS
    assert (record["reasoning_chunks"], record["tool_call_chunks"], record["chunks"]) == (2, 0, 3)
    record = row(good())
    assert record["first_answer_ns"] == record["first_chunk_ns"]
    assert (record["reasoning_chunks"], record["reasoning_tokens_estimate"]) == (0, 0)
    assert record["last_reasoning_ns"] is None
    record = row(thinking({"reasoning": "Hm"}))
    assert (record["first_answer_ns"], record["reasoning_chunks"]) == (None, 1)


def calling(*arguments, name="time"):
    yield {"tool_calls": [{"index": 0, "function": {"name": name, "arguments": ""}}]}
    for piece in arguments:
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


@pytest.mark.parametrize(
    ("deltas", "chunk"),
    [
        ([*calling('{"zo', 'ne": ', "1}")], 4),
        ([{"content": "Wait"}, *calling("{}"), {"content": "."}], 3),
        ([{"tool_calls": [{"function": {"name": "time", "arguments": "{}"}}]}], 1),
        ([*calling("{}"), {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}], 3),
        ([*calling('{"zo', 'ne": ')], None),
        ([*calling("{}"), {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}], None),
        ([{"content": "{}"}], None),
    ],
    ids=["in pieces", "between words", "in one", "two", "cut", "one of two cut", "no call"],
)
def test_tool_calls_are_whole_with_their_last_piece(deltas, chunk):
    record = row(thinking({"reasoning": "Hm"}, *deltas))
    assert record["tool_call_ns"] == (chunk and START_NS + (chunk + 1) * STEP_NS)
    assert record["last_reasoning_ns"] == START_NS + STEP_NS


def test_thoughts_in_the_text_are_those_of_the_config():
    reply = thinking({"content": "<think>Hm"}, {"content": "</think>"}, {"content": "Yes"})
    assert row(reply)["first_answer_ns"] == START_NS + STEP_NS
    record = row(reply, think_tags="both")
    assert record["first_answer_ns"] == START_NS + 3 * STEP_NS
    assert record["reasoning_chunks"] == 2


def test_tokens_of_reasoning_are_counted_or_an_estimate():
    deltas = [{"reasoning": "Hm, "}, {"reasoning": "so", "content": "Yes, "}, {"content": "yes"}]

    def tokens(**usage):
        record = row(thinking(*deltas, **usage))
        return record["reasoning_tokens"], record["reasoning_tokens_estimate"]

    assert tokens(completion_tokens=21) == (None, pytest.approx(7 + 7 * 2 / 7))
    details = {"reasoning_tokens": 8}
    assert tokens(completion_tokens=21, completion_tokens_details=details) == (8, None)
    assert tokens() == (None, None)


def test_what_the_workload_sets_is_in_the_record(monkeypatch):
    kept = Attributes(31, 9, session=4, turn=1, group=2, category="code")
    monkeypatch.setattr(BUILDER, "attributes", lambda job: kept)
    record = row(good())
    assert (record["prompt_tokens_asked"], record["completion_tokens_asked"]) == (31, 9)
    assert (record["session"], record["turn"], record["prefix_group"]) == (4, 1, 2)
    assert record["category"] == "code"
