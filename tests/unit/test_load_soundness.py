"""The figures of a reply's text and form, which its record keeps."""

import json
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mls.config.sections.run import Run
from mls.core.record import TEXT_COLUMNS
from mls.load.soundness.figures import compression_of, echoes, figures_of, garbage_in
from mls.load.soundness.form import Forms
from mls.load.soundness.loops import LEAST_CHARACTERS, LEAST_UNITS, NO_LOOP, longest_loop
from mls.protocol.asked import asked_of
from mls.protocol.prompts import prompt
from mls.protocol.replies.reply import Reply
from mls.protocol.tool_calls import ToolCall

PLAIN = Forms(asked_of(Run()))
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
sound_text = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffd\ufffe\uffff"
    ),
    max_size=60,
)
halves = st.sampled_from("é€🦙").flatmap(
    lambda character: st.integers(1, len(character.encode()) - 1).map(
        lambda cut: (character.encode()[:cut], character.encode()[cut:])
    )
)
words = st.text("abcdefgh ", max_size=300)


def is_loop(text, loop):
    """Whether the loop is what it says, character by character."""
    end = loop.start + loop.length
    recurs = all(text[i] == text[i + loop.period] for i in range(loop.start, end - loop.period))
    long = loop.length >= max(LEAST_CHARACTERS, LEAST_UNITS * loop.period)
    return recurs and long and loop.start >= 0 and end <= len(text)


# --- loops ---


@given(words, st.text("ab. \n🦙", min_size=1, max_size=40), st.integers(1, 60), words)
def test_a_loop_that_is_told_is_one(before, unit, times, after):
    text = before + unit * times + after
    loop = longest_loop(text)
    assert loop == NO_LOOP or is_loop(text, loop)


@given(words, st.text("abcdefgh. 🦙", min_size=1, max_size=40), st.integers(3, 60), words)
def test_a_loop_that_is_long_enough_is_found_wherever_it_is(before, unit, times, after):
    text = before + unit * times + after
    length = len(unit) * times
    assume(length >= max(LEAST_CHARACTERS, len(text) // 16 + 2 * len(unit) + 16))
    assert longest_loop(text).length >= length


@given(st.integers(0, 2**32))
def test_random_words_are_no_loop(seed):
    assert longest_loop(prompt(seed, 0, 200)) == NO_LOOP


def test_the_bounds_of_a_loop():
    assert longest_loop("Once upon a time. " + "The end. " * 10) == (16, 9, 92)  # with the `. `
    assert longest_loop("So x" + "yx" * 40) == (3, 2, 81)
    assert longest_loop("!" * 100) == (0, 1, 100)
    assert longest_loop("-" * (LEAST_CHARACTERS - 1)) == NO_LOOP
    assert longest_loop("0123456789abcdefghijklmnopqrstuvwxyz. " * 2) == NO_LOOP
    assert longest_loop("") == NO_LOOP


def test_a_loop_of_loops_is_one_loop():
    unit = "a" * 60 + "b"
    assert longest_loop(unit * 20) == (0, 61, 61 * 20)


# --- characters ---


@given(sound_text, st.data())
def test_a_character_that_the_limit_cuts_is_no_garbage(text, data):
    bytes_of_text = text.encode()
    cut = data.draw(st.integers(0, len(bytes_of_text)))
    seen = bytes_of_text[:cut].decode("utf-8", "replace")
    assert garbage_in(seen, True) == 0
    assert garbage_in(seen, False) == seen.count("\ufffd")


@given(sound_text, halves, sound_text)
def test_a_character_that_is_cut_in_the_middle_of_a_text_is_garbage(before, halves, after):
    cut = "".join(half.decode("utf-8", "replace") for half in halves)
    seen = f"{before}{cut}{after}."
    assert garbage_in(seen, True) == garbage_in(seen, False) == seen.count("\ufffd") > 0


def test_what_garbage_is():
    sound = "Ünïcødé 🦙, \t日本語\r\n﷽ 👩‍🚀 \u200b\xa0"
    assert garbage_in(sound, False) == 0
    assert garbage_in("\x00a\x1b[0m\x7f\x9f\uffff", False) == 5
    assert garbage_in("é".encode().decode("latin-1") + "\x80", False) == 1
    assert garbage_in("cut \ufffd\ufffd\ufffd\ufffd", True) == 1


# --- the prompt's echo, compression ---


def test_an_echo_of_the_prompt():
    own, other = prompt(1, 0, 48), prompt(1, 1, 48)
    assert echoes(own, own[:64]) and echoes(f"<|user|>\n{own}\n<|assistant|> Yes", own[:64])
    assert not echoes(other, own[:64])
    assert echoes(own[:20], own[:64]), "a reply that is cut within the opening"
    assert not echoes(own[:3], own[:64]), "a few characters may be alike by chance"
    assert not echoes("Hi! How can I help you today?", "Hi!")
    assert not echoes("", own[:64])


def test_compression_tells_a_loop_from_prose():
    loop, prose = "The end. " * 60, prompt(3, 0, 90)
    assert compression_of(loop) > 10 > 3 > compression_of(prose)
    assert compression_of("") is None


@given(st.text(), st.text(max_size=64), st.sampled_from(["length", "stop", None]))
def test_any_reply_has_figures(text, opening, reason):
    """Lone surrogates come from chunks that split a character's escapes."""
    reply = Reply(text=[text], finish_reason=reason)
    figures = figures_of(reply, opening, PLAIN)
    assert tuple(figures) == TEXT_COLUMNS
    assert figures["text_characters"] == len(reply.content.strip())
    assert (figures["loop_start"] is None) == (figures["loop_characters"] == 0)


def test_failures_and_embeddings_have_none():
    failure, embedding = Reply(error="reset"), Reply(embedding=3)
    for reply in (failure, embedding):
        assert set(figures_of(reply, "", PLAIN).values()) == {None}


# --- form ---


def form(extra, text="", reason="stop", calls=()):
    reply = Reply(answer=[text], calls=[ToolCall(*call) for call in calls], finish_reason=reason)
    return Forms(asked_of(Run(request_extra=extra))).of(reply)


@pytest.mark.parametrize(
    ("text", "reason", "state"),
    [
        ('{"a": [1, "é"]}', "stop", "whole"),
        (' {"a": 1}\n \n', "length", "whole"),
        ('{"a": [1, ', "length", "cut"),
        ('{"a": [1, ', "stop", "broken"),
        ("Sure! Here is the JSON:", "stop", "broken"),
        ("", "stop", "broken"),
    ],
)
def test_json_that_was_asked_for(text, reason, state):
    assert form({"response_format": {"type": "json_object"}}, text, reason).json == state
    fits = {"whole": "fits"}.get(state, state)
    assert form({"json_schema": {"type": "object"}}, text, reason).json == fits
    assert form({}, text, reason).json is None


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/name"}},
    "required": ["a"],
    "$defs": {"name": {"type": "string"}},
}


@pytest.mark.parametrize(
    "extra",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"json_schema": json.dumps(SCHEMA)},
        {"guided_json": SCHEMA},
        {"structured_outputs": {"json": SCHEMA}},
    ],
)
def test_json_against_its_schema(extra):
    assert form(extra, '{"a": 1, "b": "x"}').json == "fits"
    for unfit in ('{"a": "1"}', '{"b": "x"}', '{"a": 1, "b": 2}', "[]"):
        assert form(extra, unfit).json == "unfit"
    assert form(extra, '{"a": 1').json == "broken"


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"$ref": "http://127.0.0.1:9/x.json"}, {"$ref": "#/nowhere"}]
)
def test_a_schema_that_cannot_be_read_judges_nothing(schema):
    assert form({"guided_json": schema}, '{"a": 1}').json == "whole"


@pytest.mark.parametrize(
    ("calls", "bad"),
    [
        ([("weather", '{"place": "Rome"}')], 0),
        ([("weather", "{}"), ("time", '{"zone": 1}')], 0),
        ([("wether", "{}")], 1),
        ([("", "{}")], 1),
        ([("time", '{"zone": ')], 1),
        ([("time", "null")], 1),
        ([("time", "")], 1),
        ([("time", '"{}"'), ("time", "{}")], 1),
        ([], 0),
    ],
)
def test_tool_calls(calls, bad):
    assert form({"tools": TOOLS}, calls=calls, reason="tool_calls") == (None, len(calls), bad)


def test_the_limit_may_cut_the_last_call_but_no_other():
    cut = [("time", "{}"), ("weather", '{"pl')]
    assert form({"tools": TOOLS}, calls=cut, reason="length").bad_calls == 0
    assert form({"tools": TOOLS}, calls=cut[::-1], reason="length").bad_calls == 1


def test_a_call_that_must_be_and_is_not():
    must = {"tools": TOOLS, "tool_choice": "required"}
    assert form(must, "I can't.").bad_calls == 1
    assert form(must, "I", reason="length").bad_calls == 0
    named = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "time"}}}
    assert form(named, calls=[("weather", "{}")]).bad_calls == 1
    assert form(named, calls=[("time", "{}")]).bad_calls == 0


def test_a_call_is_not_held_against_the_form_of_an_answer():
    extra = {"tools": TOOLS, "response_format": {"type": "json_object"}}
    assert form(extra, "", calls=[("time", "{}")]).json is None
    assert form(extra, json.dumps({"a": 1})).json == "whole"


def test_the_time_that_figures_take_grows_no_faster_than_the_text():
    """By the characters that are searched, not by a clock: `find` gets a bounded stretch."""

    class Counting(str):
        searched = 0

        def find(self, key, start, end):
            Counting.searched += min(end, len(self)) - start
            return super().find(key, start, end)

    rng = random.Random(1)
    for size in (1_000, 10_000, 100_000):
        Counting.searched = 0
        longest_loop(Counting("".join(rng.choices("abcdefgh", k=size))))
        assert Counting.searched <= 16 * (size // LEAST_UNITS + 32)
