"""The server's cached tokens against what a trace's blocks allow."""

import pytest
from tests.unit.synthetic import facts, rows, to_table
from tests.unit.verdicts import CLEAN

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload

BLOCK, PROMPT, COUNT = 16, 60, 40
IDEAL = [0, *[3 * BLOCK] * (COUNT - 1)]
CACHED = Run(inflight=4, iters=COUNT, cache_prompt=True)


def records(cached, ideal=IDEAL):
    return to_table(
        [
            row | {"cached_tokens": had, "ideal_cached_tokens": could}
            for row, had, could in zip(rows(CLEAN), cached, ideal, strict=True)
        ]
    )


def judged(cached, ideal=IDEAL, run=CACHED, **keys):
    workload = Workload.model_validate(
        {"kind": "blocks", "prompt_tokens": "trace", "block_tokens": BLOCK, **keys}
    )
    table = records(cached, ideal)
    evidence = Evidence(summarize(table, facts(4)), table, run, Checks(), workload=workload)
    by_check = {verdict.check: verdict for verdict in judge(evidence)}
    return by_check.get("cache_hits_as_possible")


def test_a_server_with_all_blocks_but_for_the_templates_end_passes():
    verdict = judged([5, *[3 * BLOCK - 7] * (COUNT - 1)])
    assert verdict.status == "pass" and verdict.measured == 0
    assert verdict.message == (
        "The server took 66.8% of the prompt tokens from its cache, an ideal cache that keeps all has "
        "78.0%: 0 of 40 requests lack 16 tokens or more."
    )


@pytest.mark.parametrize("status, lacking", [("pass", 1), ("warn", 2)])
def test_blocks_that_the_server_does_not_have_are_warned_about(status, lacking):
    cached = list(IDEAL)
    cached[1 : 1 + lacking] = [0] * lacking
    verdict = judged(cached)
    assert verdict.status == status, verdict
    assert verdict.measured == pytest.approx(lacking * 3 * BLOCK / (COUNT * PROMPT))
    if status == "warn":
        assert "2 of 40 requests lack 16 tokens or more" in verdict.message
        assert "a larger cache" in verdict.message


def test_a_request_that_overtook_another_has_what_that_one_lacks():
    cached = [IDEAL[1], IDEAL[0], *IDEAL[2:]]
    assert judged(cached).status == "pass"


def test_more_than_was_sent_before_fails():
    verdict = judged([3 * BLOCK] * COUNT, [0, 0, *IDEAL[2:]])
    assert verdict.status == "fail"
    assert (
        "2 of 40 requests had 16 tokens or more that no request before them has" in verdict.message
    )


def test_a_cache_that_is_larger_than_the_one_of_the_config_is_no_fault():
    verdict = judged([3 * BLOCK] * COUNT, [0] * COUNT, cache_tokens=100)
    assert verdict.status == "pass"
    assert "an ideal cache of 100 tokens has 0.0%" in verdict.message


def test_prompts_that_share_nothing_have_nothing_in_the_cache():
    assert judged([0] * COUNT, [0] * COUNT).status == "pass"


def test_a_server_that_does_not_say_leaves_it_unknown():
    verdict = judged([None] * COUNT)
    assert verdict.status == "unknown" and "how much of its prompts" in verdict.message
    verdict = judged([None, *IDEAL[1:]])
    assert verdict.status == "unknown" and "1 of 40 prompts" in verdict.message


def test_without_blocks_or_without_caching_there_is_no_such_verdict():
    assert judged(IDEAL, [None] * COUNT) is None
    assert judged([0] * COUNT, run=CACHED.model_copy(update={"cache_prompt": False})) is None


def test_shares_are_of_the_prompt_tokens():
    cache = summarize(records([0, *[30] * (COUNT - 1)]), facts(4)).cache
    assert cache.share == pytest.approx(39 * 30 / (COUNT * PROMPT))
    assert cache.ideal_share == pytest.approx(39 * 48 / (COUNT * PROMPT))
    cache = summarize(records([None] * COUNT, [None] * COUNT), facts(4)).cache
    assert cache.share is None and cache.ideal_share is None
