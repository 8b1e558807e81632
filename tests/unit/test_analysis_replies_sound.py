"""The check of replies, by the columns of the records alone; tests/faults has servers for it."""

import pytest
from tests.unit.synthetic import SOUND, embeddings, rows, to_table
from tests.unit.verdicts import AFTER, BEFORE, CLEAN, verdicts

from mls.config.sections.checks import Checks
from mls.config.sections.run import Run

FREE = Run(inflight=4, iters=40, max_tokens=16, ignore_eos=False)
FORCED = Run(inflight=4, iters=40, max_tokens=16)
JSON = FREE.model_copy(update={"request_extra": {"response_format": {"type": "json_object"}}})
LOOP = {"loop_start": 20, "loop_period": 4, "loop_characters": 60}
ENDED = {"finish_reason": "stop"}


def judged(records, run=FREE, **options):
    return verdicts(to_table(records), BEFORE, AFTER, run, **options)["replies_sound"]


def with_faults(count, **values):
    """Records of 40 requests, of which so many have these values."""
    return [row | (values if job < count else {}) for job, row in enumerate(rows(CLEAN))]


@pytest.mark.parametrize(
    "fault",
    [
        {"text_characters": 0, "text_compression": None, "echoes_prompt": False},
        {"garbage_characters": 3},
        {"bad_tool_calls": 1, "tool_calls": 1},
    ],
)
def test_single_replies_against_the_budget(fault):
    assert judged(with_faults(0)).status == "pass"
    one = judged(with_faults(1, **fault))
    assert (one.status, one.measured, one.threshold) == ("fail", 1 / 40, 0.01)
    assert "1 of 40 replies are unsound" in one.message
    allowed = judged(with_faults(1, **fault), checks=Checks(unsound_replies=0.05))
    assert allowed.status == "warn"
    assert judged(with_faults(3, **fault), checks=Checks(unsound_replies=0.05)).status == "fail"


@pytest.mark.parametrize(
    ("count", "free", "greedy", "forced"),
    [
        (16, "pass", "pass", "pass"),
        (17, "warn", "warn", "unknown"),
        (32, "warn", "warn", "unknown"),
        (33, "fail", "warn", "unknown"),
    ],
)
def test_loops_by_what_was_asked(count, free, greedy, forced):
    records = with_faults(count, **LOOP)
    assert judged(records).status == free
    assert judged(records, FREE.model_copy(update={"temperature": 0.0})).status == greedy
    assert judged(records, FORCED).status == forced
    assert judged(with_faults(40, **LOOP | {"loop_characters": 40})).status == "pass", "half a text"


def test_a_server_that_refuses_to_go_on_has_no_excuse():
    from mls.analysis.checks.replies_sound import replies_sound
    from mls.analysis.repeat.evidence import Evidence

    table = to_table(with_faults(40, **LOOP))

    def status(*left_out):
        return replies_sound(Evidence(None, table, FORCED, Checks(), left_out=left_out)).status

    assert status() == status("min_tokens") == "unknown"
    assert status("ignore_eos", "min_tokens") == "fail"


def test_loops_that_ended_by_themselves_have_no_excuse():
    records = with_faults(40, **LOOP)
    for job, status in ((16, "unknown"), (17, "warn"), (33, "fail")):
        ended = [row | ENDED if row["job"] < job else row for row in records]
        assert judged(ended, FORCED).status == status


@pytest.mark.parametrize("run", [FREE, FORCED])
def test_texts_that_are_one_token_again_and_again(run):
    stuck = {"loop_start": 0, "loop_period": 8, "loop_characters": 80}
    assert judged(with_faults(17, **stuck), run).status == "warn"
    assert judged(with_faults(33, **stuck), run).status == "fail"
    longer = judged(with_faults(40, **stuck | {"loop_period": 9}), run)
    assert longer.status == ("unknown" if run.ignore_eos else "fail")


def test_texts_that_are_alike():
    long = {"output_sha256": "one", "text_characters": 160}
    assert judged(with_faults(2, **long)).status == "pass"
    three = judged(with_faults(3, **long))
    assert (three.status, three.measured) == ("fail", 3 / 40)
    assert "3 of 40 replies have the text of a reply to another prompt" in three.message
    for of_no_account in ({"prompt_sha256": "one"}, LOOP | {"loop_characters": 130}):
        records = with_faults(16, **long, **of_no_account)
        assert judged(records).status == "pass", of_no_account


@pytest.mark.parametrize(
    ("count", "characters", "status"),
    [(35, 159, "pass"), (36, 159, "fail"), (36, 40, "fail"), (40, 39, "pass")],
)
def test_usual_first_words_are_not_those_of_another_unless_nearly_all_have_them(
    count, characters, status
):
    records = with_faults(count, output_sha256="one", text_characters=characters)
    assert judged(records).status == status
    several = [
        row | {"output_sha256": str(job % 2), "text_characters": characters}
        for job, row in enumerate(records)
    ]
    assert judged(several).status == "pass", "as of a few kinds of prompts"


def test_short_replies():
    short = ENDED | {"completion_tokens": 1, "text_characters": 3}
    assert judged(with_faults(20, **short)).status == "pass"
    assert judged(with_faults(21, **short)).status == "warn"
    silent = with_faults(21, **short | {"completion_tokens": None})
    assert judged(silent).status == "warn", "by its characters, where tokens aren't counted"
    called = short | {"tool_calls": 1, "bad_tool_calls": 0}
    assert judged(with_faults(40, **called)).status == "pass"
    assert judged(with_faults(40, **short, completion_tokens_asked=4)).status == "pass"
    few = FREE.model_copy(update={"request_extra": {"grammar": 'root ::= "a" | "b"'}})
    assert judged(with_faults(40, **short), few).status == "pass"


def test_json_that_was_cut_is_not_judged():
    whole, cut = {"json_form": "whole"}, {"json_form": "cut"}
    assert judged(with_faults(40, **whole), JSON).status == "pass"
    verdict = judged(with_faults(40, **cut), JSON)
    assert verdict.status == "unknown" and "ask for more tokens" in verdict.message
    assert judged(with_faults(1, json_form="broken"), JSON).status == "fail"


def test_several_faults_are_all_named_the_worst_first():
    records = with_faults(17, echoes_prompt=True)
    for row in records[:3]:
        row["garbage_characters"] = 1
    verdict = judged(records)
    assert verdict.status == "fail" and verdict.measured == 3 / 40
    unsound, echo = (verdict.message.index(words) for words in ("3 garbled", "17 of 40 replies"))
    assert unsound < echo


def test_records_of_earlier_versions_are_unknown():
    old = dict.fromkeys(SOUND)
    verdict = judged([row | old for row in rows(CLEAN)])
    assert verdict.status == "unknown" and "measure again" in verdict.message
    assert judged([]).status == "unknown"


def test_embeddings_have_no_such_verdict():
    run = Run(endpoint="/v1/embeddings", inflight=4, iters=40)
    assert "replies_sound" not in verdicts(to_table(embeddings()), run=run)
