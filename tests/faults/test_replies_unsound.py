"""Servers whose replies are no sound texts: what `replies_sound` says of each, and what it can't."""

import json
import threading
from typing import Any

import pytest
from tests.faults.driving import harvest, spec
from tests.servers.honest import Turns
from tests.servers.speaking import Asking, Said, Speaking, Speech, sound
from tests.unit.verdicts import verdicts

from mls.config.sections.run import Run
from mls.core.run_result import Verdict
from mls.protocol.request import Target

REQUESTS = 12
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
AS_JSON = {"response_format": {"type": "json_object"}}
WITH_TOOLS = {"tools": TOOLS}


def checks(speech: Speech, in_turn: bool = True, **run: Any) -> dict[str, Verdict]:
    """The verdicts on a run against a server that speaks so; by default free to end its replies.

    in_turn: whether replies wait until the run has all of its requests in flight.
    """
    options = {"inflight": 4, "ranks": 1, "iters": REQUESTS, "warmup": 0, "ignore_eos": False} | run
    settings = Run(**options)
    turns = Turns(settings.inflight, REQUESTS) if in_turn else None
    with Speaking(speech, turns) as server:
        table = harvest(spec([Target(server.url)], settings)).table
    return verdicts(table, None, None, settings)


def verdict_on(speech: Speech, **options: Any) -> Verdict:
    """options: of `checks`."""
    return checks(speech, **options)["replies_sound"]


def says(text: str, reason: str = "stop") -> Speech:
    """The same text to all, after the prompt's number, so that no two are alike."""
    return lambda asking: Said(f"{asking.prompt.partition('.')[0]}: {text}", reason)


def calls(name: str, arguments: str, reason: str = "tool_calls") -> Speech:
    """A call in two pieces, as servers stream it."""
    half = len(arguments) // 2
    pieces = [{"name": name, "arguments": arguments[:half]}, {"arguments": arguments[half:]}]
    deltas = [{"tool_calls": [{"index": 0, "function": piece}]} for piece in pieces]
    return lambda asking: Said(deltas=deltas, reason=reason)


def loops(asking: Asking) -> Said:
    """A sound beginning, and a loop after it."""
    return Said(sound(asking).text[:80] + " and then it says again" * 20)


def garbles_from_4_on(asking: Asking) -> Said:
    text = sound(asking).text
    return Said(text.replace("a", "\ufffd") if asking.outstanding >= 4 else text)


def cuts_a_character(asking: Asking) -> Said:
    """Each half of an é is decoded by itself."""
    halves = "é".encode()[:1], "é".encode()[1:]
    text = "caf" + "".join(half.decode("utf-8", "replace") for half in halves)
    return Said(f"{text} {sound(asking).text}")


class Swap:
    """Each request of a pair gets the reply to the other's prompt."""

    def __init__(self) -> None:
        self.waiting: tuple[Asking, threading.Event, list[Said]] | None = None
        self.lock = threading.Lock()

    def __call__(self, asking: Asking) -> Said:
        with self.lock:
            if self.waiting is None:
                own: tuple[Asking, threading.Event, list[Said]]
                own = self.waiting = (asking, threading.Event(), [])
                other = None
            else:
                own, other, self.waiting = self.waiting, self.waiting[0], None
        if other is None:
            assert own[1].wait(20)
            return own[2][0]
        own[2].append(sound(asking))
        own[1].set()
        return sound(other)


def test_a_sound_server_passes():
    for run in ({}, {"ignore_eos": True}, {"temperature": 0}, {"inflight": 1}, {"max_tokens": 4}):
        verdict = verdict_on(sound, **run)
        assert verdict.status == "pass", verdict
    assert "whether they answer their prompts" in verdict.message


@pytest.mark.parametrize("inflight", [2, 4])
def test_replacement_characters_from_4_in_flight_on(inflight):
    verdict = verdict_on(garbles_from_4_on, inflight=inflight)
    assert verdict.status == ("fail" if inflight == 4 else "pass"), verdict
    if inflight == 4:
        assert "garbled (replacement or control characters)" in verdict.message


def test_bytes_that_are_no_utf8_are_errors():
    """No JSON text may hold them (RFC 8259, 8.1), so no part of such a reply can be read."""
    by_check = checks(says("\udcc3( \udcff"))
    assert by_check["errors"].status == "fail" and "bad_reply" in by_check["errors"].message
    assert by_check["replies_sound"].status == "unknown"


def test_bytes_that_are_taken_for_characters():
    garble = "Grüße, schöne Welt".encode().decode("latin-1")
    verdict = verdict_on(says(f"\x01\x02 {garble}\x80"))
    assert verdict.status == "fail" and "garbled" in verdict.message


def test_a_character_cut_in_the_middle_and_one_cut_by_the_limit():
    verdict = verdict_on(cuts_a_character)
    assert (verdict.status, verdict.measured) == ("fail", 1.0)
    assert (
        verdict_on(lambda asking: Said(sound(asking).text + " \ufffd", "length")).status == "pass"
    )
    assert verdict_on(lambda asking: Said(sound(asking).text + " \ufffd", "stop")).status == "fail"


@pytest.mark.parametrize("text", ["", " \n"])
def test_empty_replies(text):
    verdict = verdict_on(lambda asking: Said(text, "stop"))
    assert verdict.status == "fail", verdict
    assert f"{REQUESTS} of {REQUESTS} replies are unsound: {REQUESTS} empty." in verdict.message


@pytest.mark.parametrize(
    ("run", "status", "words"),
    [
        ({}, "fail", "12 of 12 replies are loops for most of their text (from character"),
        ({"temperature": 0}, "warn", "At temperature 0 small models do so by themselves"),
        ({"ignore_eos": True}, "unknown", "They were made to go on after their end"),
        ({"ignore_eos": True, "temperature": 0}, "unknown", "made to go on"),
        ({"request_extra": {"ignore_eos": True}}, "unknown", "made to go on"),
    ],
)
def test_loops(run, status, words):
    verdict = verdict_on(loops, **run)
    assert verdict.status == status and words in verdict.message, verdict


@pytest.mark.parametrize("ignore_eos", [False, True])
@pytest.mark.parametrize("temperature", [0, 0.8])
def test_one_token_again_and_again_has_no_excuse(ignore_eos, temperature):
    """What a model makes of logits that are no numbers: one token again and again."""
    run = {"ignore_eos": ignore_eos, "temperature": temperature}
    verdict = verdict_on(lambda asking: Said("!" * 200), **run)
    assert verdict.status == "fail"
    assert "12 say one token again and again from their first character" in verdict.message


def test_loops_that_end_by_themselves_were_not_made_to_go_on():
    verdict = verdict_on(lambda asking: loops(asking)._replace(reason="stop"), ignore_eos=True)
    assert verdict.status == "fail"


def test_echoes_of_the_prompt():
    verdict = verdict_on(lambda asking: Said(f"user: {asking.prompt}\nassistant: Yes.", "stop"))
    assert verdict.status == "fail" and "12 of 12 replies repeat their prompt" in verdict.message


def test_the_same_text_for_all_prompts():
    same = lambda asking: Said("I am sorry, but I can't help you with that today.", "stop")  # noqa: E731
    for run in ({}, {"ignore_eos": True}, {"temperature": 0}):
        verdict = verdict_on(same, **run)
        assert verdict.status == "fail"
        assert "12 of 12 replies have the text of a reply to another prompt" in verdict.message
    few_texts = {"request_extra": {"grammar": 'root ::= "I am sorry, " …'}}
    assert verdict_on(same, **few_texts).status == "pass"
    assert verdict_on(lambda asking: Said("Yes, it is.", "stop")).status == "pass", "short"


def test_broken_json():
    verdict = verdict_on(says('{"a": [1, 2}'), request_extra=AS_JSON)
    assert verdict.status == "fail" and "12 no JSON, which was asked for" in verdict.message
    of = lambda asking: json.dumps({"a": sound(asking).text})  # noqa: E731
    whole = verdict_on(lambda asking: Said(f"{of(asking)}\n"), request_extra=AS_JSON)
    assert whole.status == "pass" and "no JSON" in whole.message
    cut = verdict_on(lambda asking: Said(of(asking)[:-5]), request_extra=AS_JSON)
    assert cut.status == "unknown" and "cut off by max_tokens" in cut.message


@pytest.mark.parametrize(
    ("schema", "status", "words"),
    [
        ({"required": ["a"]}, "pass", "no JSON"),
        ({"required": ["b"]}, "fail", "12 JSON that doesn't fit the schema"),
        ({"type": "objekt"}, "pass", "whether JSON fits its schema, which can't be read"),
    ],
)
def test_json_that_is_to_fit_a_schema(schema, status, words):
    extra = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    verdict = verdict_on(lambda asking: Said('{"a": 1}', "stop"), request_extra=extra)
    assert verdict.status == status and words in verdict.message, verdict


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("weather", '{"place": "Rome"}', "pass"),
        ("wheather", '{"place": "Rome"}', "fail"),
        ("weather", '{"place": "Rome"', "fail"),
        ("weather", "Rome", "fail"),
    ],
)
def test_tool_calls(name, arguments, status):
    verdict = verdict_on(calls(name, arguments), request_extra=WITH_TOOLS)
    assert verdict.status == status, verdict
    assert ("with a malformed tool call" in verdict.message) and verdict.measured == (
        status == "fail"
    )


def test_swapped_replies_are_not_seen():
    """Each is a sound text of its own: only whoever knows what a prompt's reply was can tell."""
    by_check = checks(Swap(), in_turn=False, inflight=4)
    assert (by_check["errors"].status, by_check["replies_sound"].status) == ("pass", "pass")
