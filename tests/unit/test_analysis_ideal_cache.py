"""What an ideal cache has of shared prefixes, depths and conversations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import EPOCH_NS, Load, facts, rows, to_table

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.cache.ideal import ideal_cache
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.run_result import Template

PREFIX, PROMPT, AROUND = 100, 160, 30
TEMPLATE = Template(tokens=AROUND)
RUN = Run(inflight=4, iters=40, cache_prompt=True)
PREFIXES = Workload(kind="shared_prefix", prompt_tokens=PROMPT, prefix_tokens=PREFIX)
DEPTH = Workload(kind="depth", prompt_tokens=PROMPT - PREFIX, depth=PREFIX)
TALK = Workload(kind="conversation", prompt_tokens=100, turns=3)
FILE_TALK = Workload(kind="conversation", file="talks.jsonl", history="dataset")


def prompts(cached, groups=1, places=1, tokens=PROMPT):
    """Records of prompts of these groups, one a value of `cached`."""
    load = Load(places=places, requests=len(cached), prompt=tokens)
    return [
        row
        | {"prefix_group": row["job"] % groups, "prompt_tokens_asked": PROMPT, "cached_tokens": had}
        for row, had in zip(rows(load), cached, strict=True)
    ]


def turns(*conversations):
    """Records of conversations, each a list of (prompt, cached tokens), with replies of 20 tokens."""
    places = [(s, t, each) for s, talk in enumerate(conversations) for t, each in enumerate(talk)]
    return [
        row
        | {"session": session, "turn": turn, "prompt_tokens": prompt, "cached_tokens": cached}
        | {"completion_tokens": 20}
        for row, (session, turn, (prompt, cached)) in zip(
            rows(Load(places=1, requests=len(places))), places, strict=True
        )
    ]


TALKS = turns([(100, 0), (160, 118), (230, 0)], [(50, 0), (90, 60)])


def judged(records, workload, template=TEMPLATE, run=RUN):
    """(verdict by check, cache of the summary) of these records."""
    table = to_table(records)
    summary = summarize(table, facts(4, workload=workload, template=template))
    evidence = Evidence(summary, table, run, Checks(), workload=workload, template=template)
    return {verdict.check: verdict for verdict in judge(evidence)}, summary.cache


def hits(records, workload, template=TEMPLATE, run=RUN):
    return judged(records, workload, template, run)[0].get("cache_hits_as_possible")


sent = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 5), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(sent, st.integers(0, AROUND))
def test_a_prefix_is_due_once_a_request_of_its_group_has_been_read(requests, around):
    """Each request is (group, its start, time until its first chunk, whether it succeeded)."""
    records = []
    for row, (group, start, read, ok) in zip(prompts([0] * len(requests)), requests, strict=True):
        start += EPOCH_NS
        row |= {"prefix_group": group, "start_ns": start, "end_ns": start + read + 1}
        row |= {"first_chunk_ns": start + read, "error": None if ok else "timeout"}
        records.append(row)
    ideal = ideal_cache(to_table(records), PREFIXES, Template(tokens=around))
    for at, (group, start, read, _) in enumerate(requests):
        like = [(i, s, r, o) for i, (g, s, r, o) in enumerate(requests) if g == group and i != at]
        due = any(ok and other + its <= start for _, other, its, ok in like)
        before = any((other, i) < (start, at) for i, other, _, _ in like)
        possible = before or any(other < start + read for _, other, _, _ in like)
        assert ideal.due[at] == PREFIX * due
        assert ideal.tokens[at] == around + PREFIX * before
        assert ideal.most[at] == around + PREFIX * possible
        assert ideal.due[at] <= ideal.tokens[at] <= ideal.most[at]


def test_requests_in_flight_at_once_need_not_have_each_others_prefix():
    cold = [24] * 4 + [124] * 36
    verdicts, cache = judged(prompts(cold, places=4), PREFIXES)
    verdict = verdicts["cache_hits_as_possible"]
    assert verdict.status == "pass" and verdict.measured == 0
    assert verdict.message == (
        "The server took 71.2% of the prompt tokens from its cache, an ideal cache that keeps all has "
        "79.7%: 0 of 40 requests lack 16 tokens or more."
    )
    assert cache.share == pytest.approx(sum(cold) / (40 * PROMPT))
    assert cache.ideal_share == pytest.approx((40 * AROUND + 39 * PREFIX) / (40 * PROMPT))
    # one after another they do
    verdict = hits(prompts(cold), PREFIXES)
    assert verdict.status == "warn"
    assert verdict.measured == pytest.approx(3 * PREFIX / (40 * PROMPT))
    assert "3 of 40 requests lack 16 tokens or more" in verdict.message


def test_each_group_has_a_prefix_of_its_own_and_each_adapter_too():
    groups = [24] * 10 + [124] * 30
    assert hits(prompts(groups, groups=10), PREFIXES).status == "pass"
    assert hits(prompts(groups, groups=5), PREFIXES).status == "warn"
    adapters = [
        row | {"adapter": row["job"] // 5 % 2} for row in prompts([24] * 10 + [124] * 30, groups=5)
    ]
    assert hits(adapters, PREFIXES).status == "pass"


@pytest.mark.parametrize("block", [1, 16, 32, 64, 128])
@pytest.mark.parametrize("before", [0, 24])
def test_a_server_that_caches_by_the_block_has_what_is_possible(block, before):
    """What the template has before the prefix decides how many whole blocks there are."""
    prefix, length = 500, 600
    workload = Workload(kind="shared_prefix", prompt_tokens=length, prefix_tokens=prefix)
    had = (before + prefix) // block * block
    records = [
        row | {"prompt_tokens": length, "prompt_tokens_asked": length}
        for row in prompts([before // block * block] + [had] * 39)
    ]
    assert hits(records, workload).status == "pass"
    for row in records[20:23]:
        row["cached_tokens"] = 0
    verdict = hits(records, workload)
    assert verdict.status == "warn" and "3 of 40 requests lack" in verdict.message


def test_prompts_that_a_server_knew_before_the_run_fail():
    verdict = hits(prompts([PROMPT - 1] * 40), PREFIXES)
    assert verdict.status == "fail"
    assert "40 of 40 requests had 16 tokens or more that no request before" in verdict.message
    # how much of a prompt is the template's isn't known there, so it may be the system's message
    assert hits(prompts([PROMPT - 1] * 40), PREFIXES, Template()).status == "pass"


def test_prompts_of_other_lengths_than_asked_for_leave_it_unknown():
    verdicts, cache = judged(prompts([0] * 40, tokens=PROMPT + 3), PREFIXES)
    verdict = verdicts["cache_hits_as_possible"]
    assert verdict.status == "unknown" and "of its prompts isn't known" in verdict.message
    assert cache.ideal_share is None


def test_without_caching_there_is_a_share_and_no_verdict():
    off = RUN.model_copy(update={"cache_prompt": False})
    verdicts, cache = judged(prompts([0] * 40), PREFIXES, run=off)
    assert "cache_hits_as_possible" not in verdicts and cache.ideal_share > 0.7


def test_nothing_cached_is_right_where_prompts_share_nothing():
    """Both checks of the cache agree."""
    verdicts, _ = judged(prompts([0] * 40, groups=40), PREFIXES)
    assert verdicts["cache_as_asked"].status == "pass"
    assert "none shares a beginning" in verdicts["cache_as_asked"].message
    assert verdicts["cache_hits_as_possible"].status == "pass"
    verdicts, _ = judged(prompts([0] * 40, groups=20), PREFIXES)
    assert verdicts["cache_as_asked"].status == "warn"
    assert verdicts["cache_hits_as_possible"].status == "warn"


def test_all_prompts_have_the_depth():
    verdicts, cache = judged(prompts([124] * 40), DEPTH)
    assert verdicts["cache_hits_as_possible"].status == "pass"
    assert verdicts["depth_as_asked"].status == "pass"
    assert cache.ideal_share == pytest.approx((PREFIX + AROUND) / PROMPT)
    verdicts, _ = judged(prompts([124] * 30 + [24] * 10), DEPTH)
    assert verdicts["cache_hits_as_possible"].status == "warn"
    assert verdicts["depth_as_asked"].status == "fail"


def test_a_later_turn_has_the_prompt_before_and_the_reply_but_for_its_last_token():
    ideal = ideal_cache(to_table(TALKS), TALK, TEMPLATE)
    assert ideal.tokens.tolist() == [AROUND, 119, 179, AROUND, 69]
    assert ideal.due.tolist() == [0, 92, 152, 0, 42]  # however the reply is made of tokens again
    assert ideal.most.tolist() == [AROUND, 120, 180, AROUND, 70]


def test_branches_share_what_was_said_before_they_began():
    """So does the turn that joins them: what they replied is new there."""
    rows = turns([(100, 0), (160, 118), (170, 0), (300, 0)])
    rows[2] |= {"turn": 1, "branch": 1, "previous_job": 0}
    rows[1] |= {"branch": 0, "previous_job": 0}
    rows[3] |= {"turn": 1, "previous_job": 0}
    ideal = ideal_cache(to_table(rows), FILE_TALK.model_copy(update={"history": "own"}), TEMPLATE)
    assert ideal.tokens.tolist() == [AROUND, 119, 119, 119]
    assert ideal.due.tolist() == [0, 92, 92, 92]


def test_replies_that_are_not_sent_again_are_not_in_it():
    thinks = to_table([row | {"reasoning_chunks": 3} for row in TALKS])
    for table, workload in ((thinks, TALK), (to_table(TALKS), FILE_TALK)):
        ideal = ideal_cache(table, workload, Template())
        assert ideal.tokens.tolist() == [0, 100, 160, 0, 50]
        assert ideal.due.tolist() == [0, 92, 152, 0, 42]
        assert np.isinf(ideal.most).all()  # files' conversations may begin alike


def talks(share, sessions=12):
    """Conversations of three turns with this share of their context before in the cache."""
    talk = [(100, 0), (160, int(share * 120)), (230, int(share * 180))]
    return turns(*[talk] * sessions)


@pytest.mark.parametrize("workload", [TALK, FILE_TALK])
def test_conversations_that_lost_their_context_are_warned_about(workload):
    assert hits(talks(1), workload).status == "pass"
    verdict = hits(talks(0), workload)
    assert verdict.status == "warn" and "24 of 36 requests lack 16 tokens" in verdict.message
    assert "as many conversations as are in flight" in verdict.message
    assert "chat template that writes what was said" in verdict.message
    kept = Template(keeps_history=True)
    assert "chat template" not in hits(talks(0), workload, kept).message


def test_what_a_template_writes_anew_is_unknown():
    rewrites = Template(tokens=AROUND, keeps_history=False)
    verdicts, cache = judged(talks(0), TALK, rewrites)
    verdict = verdicts["cache_hits_as_possible"]
    assert verdict.status == "unknown" and cache.ideal_share is None
    assert verdict.message == (
        "What a cache can have of 24 of 36 prompts isn't known: the chat template writes what was said "
        "before otherwise in each turn."
    )
    assert verdicts["cache_as_asked"].status == "warn"


def test_a_server_that_does_not_count_leaves_conversations_unknown():
    for column, word in (("cached_tokens", "doesn't say"), ("prompt_tokens", "doesn't say")):
        verdict = hits([row | {column: None} for row in talks(1)], TALK)
        assert verdict.status == "unknown" and word in verdict.message
    uncounted = [row | {"completion_tokens": None} for row in talks(1)]
    verdicts, cache = judged(uncounted, TALK)
    assert verdicts["cache_hits_as_possible"].status == "pass" and cache.ideal_share is None


def test_other_workloads_know_nothing_of_what_their_prompts_share():
    for kind in ("words", "synthetic"):
        verdicts, cache = judged(prompts([0] * 40), Workload(kind=kind))
        assert "cache_hits_as_possible" not in verdicts and cache.ideal_share is None
        assert verdicts["cache_as_asked"].status == "warn"


def cached_of(tokens, known, block):
    """What a server has that caches whole blocks of what it has processed, never the last token."""
    return min(known, tokens - 1) // block * block


@given(
    st.sampled_from([1, 16, 32, 64, 128]),
    st.integers(0, AROUND),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), min_size=3, max_size=20),
    st.integers(1, 300),
)
def test_no_server_that_keeps_all_in_blocks_falls_short_of_prefixes(
    block, before, requests, prefix
):
    """before: the template's tokens before the user's text; the others end the prompt."""
    workload = Workload(kind="shared_prefix", prompt_tokens=999, prefix_tokens=prefix, groups=4)
    records, seen = prompts([0] * len(requests)), set()
    for row, (group, own) in zip(records, requests, strict=True):
        tokens = AROUND + prefix + own
        known = before + (prefix if group in seen else 0) if row["job"] else 0
        seen.add(group)
        row |= {"prefix_group": group, "prompt_tokens": tokens, "prompt_tokens_asked": tokens}
        row["cached_tokens"] = cached_of(tokens, known, block)
    verdict = hits(records, workload)
    nothing = not any(row["cached_tokens"] for row in records)  # the blocks may be too long for it
    assert verdict.status == "pass" or (nothing and "are the blocks" in verdict.message)


turn_lengths = st.tuples(
    st.integers(1, 300), st.integers(1, 80), st.floats(0, 1), st.integers(0, 8)
)


@given(
    st.sampled_from([1, 16, 32, 64, 128]),
    st.lists(st.lists(turn_lengths, min_size=1, max_size=6), min_size=1, max_size=5),
)
def test_no_server_that_keeps_all_in_blocks_falls_short_of_conversations(block, talks):
    """A turn is (tokens that it adds, of its reply, share of that whose tokens stay, end rewritten)."""
    records = []
    for session, talk in enumerate(talks):
        said = known = 0
        for turn, (new, reply, kept, end) in enumerate(talk):
            prompt = said + AROUND + new
            (row,) = turns([(prompt, cached_of(prompt, known, block))])
            records.append(row | {"job": 100 * session + turn, "session": session, "turn": turn})
            records[-1]["completion_tokens"] = reply
            said = prompt + reply
            known = prompt + int(kept * (reply - 1)) if kept == 1 or end == 0 else prompt - end
    verdict = hits(records, TALK, Template(tokens=AROUND))
    nothing = not any(row["cached_tokens"] for row in records)
    assert verdict.status == "pass" or (nothing and "are the blocks" in verdict.message)
