"""Servers that cache by the block, against an ideal cache: counts of a vLLM on a CPU, of 128 tokens."""

import pytest
from tests.unit.synthetic import Load, facts, rows, to_table

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.run_result import Template

RUN = Run(inflight=3, iters=3, cache_prompt=True)
AGENTS = Workload.model_validate({"kind": "blocks", "prompt_tokens": "trace", "block_tokens": 64})
SAYS = "vllm:cache_config_info.block_size"
LLAMA_CPP = "llamacpp:prompt_tokens_total"

BY_TEXT = [(300, 0, 0), (428, 256, 300), (620, 384, 428), (748, 512, 620)]
"""(prompt, cached, ideally cached) of an agent's requests, by /v1/completions, all in the cache."""
BY_CHAT = [(256, 0, 0), (428, 128, 256), (640, 384, 428), (748, 512, 640)]
"""By chat: the first and third prompts end with the template's 5 tokens, not with a whole block."""
CROWDED = [(256, 0, 0), (428, 128, 256), (640, 0, 428), (748, 0, 640)]
"""Of three at once in a cache of 8 blocks."""


def judged(counts, template=0, step=128, workload=AGENTS, says=SAYS, **columns):
    """The verdict on these requests. step: what the server says by `says`, None where nothing."""
    load = Load(places=1, requests=len(counts))
    table = to_table(
        [
            row
            | {"prompt_tokens": prompt, "prompt_tokens_asked": prompt, "cached_tokens": cached}
            | {"ideal_cached_tokens": ideal}
            | {name: values[row["job"]] for name, values in columns.items()}
            for row, (prompt, cached, ideal) in zip(rows(load), counts, strict=True)
        ]
    )
    around = Template(tokens=template)
    summary = summarize(table, facts(1, workload=workload, template=around))
    metrics = None if step is None else {says: step}
    evidence = Evidence(
        *(summary, table, RUN, Checks(), metrics, metrics), workload=workload, template=around
    )
    checks = {verdict.check: verdict for verdict in judge(evidence)}
    return checks["cache_hits_as_possible"]


@pytest.mark.parametrize("step", [128, None])
@pytest.mark.parametrize(("agent", "template"), [(BY_TEXT, 0), (BY_CHAT, 30)])
def test_blocks_of_a_trace_that_are_shorter_than_the_servers_are_no_shortfall(
    agent, template, step
):
    verdict = judged(agent * 3, template, step)
    assert verdict.status == "pass", verdict
    block = "by which it seems to cache" if step is None else "a block of its cache"
    assert f"0 of 12 requests lack 128 tokens or more, {block}." in verdict.message


@pytest.mark.parametrize("step", [128, None])
def test_a_cache_without_room_for_them_is_one(step):
    verdict = judged(CROWDED * 3, 30, step)
    assert verdict.status == "warn"
    assert "6 of 12 requests lack 128 tokens or more" in verdict.message


def test_a_server_that_says_its_block_is_held_to_it():
    """Its counts might be by longer steps, as here by chance."""
    verdict = judged(BY_TEXT * 3, step=16)
    assert verdict.status == "warn"
    assert "3 of 12 requests lack 64 tokens or more" in verdict.message


def test_a_llama_cpp_caches_by_the_token():
    """As b11434 did at a depth: all counts are 256, which is no step of its cache."""
    depth = Workload(kind="depth", depth=256, prompt_tokens=64)
    for lacking, status in ((0, "pass"), (20, "warn")):
        verdict = judged([(320, 256 - lacking, None)] * 3, 0, 1, depth, LLAMA_CPP)
        assert verdict.status == status, verdict
        assert "lack 16 tokens or more." in verdict.message


PREFIXES = Workload(kind="shared_prefix", prompt_tokens=100, prefix_tokens=100, groups=2)


def prefixes(cached, system=128):
    """Requests with two prefixes of 100 tokens by turns, behind a system's message."""
    return judged(
        [(system + 200, had, None) for had in cached],
        system,
        None,
        PREFIXES,
        prefix_group=[job % 2 for job in range(len(cached))],
    )


def test_a_systems_message_in_the_cache_is_no_prefix():
    """It is as long as one, and its tokens are a step in which a server might cache."""
    assert prefixes([0, 128, *[228] * 8]).status == "pass"
    verdict = prefixes([0, *[128] * 9])
    assert verdict.status == "warn"
    assert "8 of 10 requests lack 16 tokens or more. It had no more of them" in verdict.message


def test_steps_that_a_server_does_not_say_are_seen_where_prefixes_are_in_its_cache():
    assert prefixes([0, 256, *[320] * 8], 256).status == "pass"  # of 356, by 64
