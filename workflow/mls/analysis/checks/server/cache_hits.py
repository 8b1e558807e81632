"""Did the server's cache have what a trace's blocks allow?"""

from __future__ import annotations

from mls.analysis.repeat.columns import ints, succeeded
from mls.analysis.repeat.evidence import Evidence, verdict
from mls.core.run_result import Verdict

_CHECK = "cache_hits_as_possible"


def cache_hits_as_possible(evidence: Evidence) -> Verdict | None:
    """The server's cached tokens against those of an ideal cache; None without blocks or caching.

    A request counts where both differ by a block or more: a server may cache in steps of its own,
    and the chat template's end is in no other prompt. What one request lacks since another one came
    before it, that other one has, so requests may pass each other on their way.
    """
    table, checks = evidence.table, evidence.checks
    ideal, cached = ints(table, "ideal_cached_tokens"), ints(table, "cached_tokens")
    rows = succeeded(table) & ideal.valid
    if not evidence.run.cache_prompt or not rows.any():
        return None
    prompts = ints(table, "prompt_tokens")
    counted = rows & cached.valid & prompts.valid
    if silent := int((rows & ~counted).sum()):
        message = (
            "The server doesn't say how much of "
            f"{f'{silent} of {rows.sum()}' if counted.any() else 'its'} prompts it took from its cache."
        )
        return verdict(_CHECK, "unknown", None, checks.cache_shortfall, message)
    apart = ideal.values[rows] - cached.values[rows]
    block, tokens = evidence.workload.block_tokens, int(prompts.values[rows].sum())
    short = float((apart * (abs(apart) >= block)).sum() / tokens)
    had, could = (float(column.values[rows].sum() / tokens) for column in (cached, ideal))
    size = evidence.workload.cache_tokens
    kind = f"of {size} tokens" if size else "that keeps all"
    lacking = f"{(apart >= block).sum()} of {len(apart)} requests lack a block or more"
    shares = (
        f"The server took {had:.1%} of the prompt tokens from its cache, an ideal cache {kind} has "
        f"{could:.1%}"
    )
    if short > checks.cache_shortfall:
        message = (
            f"{shares}: {lacking}. What helps is a larger cache, one that all requests share (each server "
            "has its own, llama.cpp one for each slot, of its last prompt), and fewer requests in flight, as "
            "none has what another one is still waiting for."
        )
        return verdict(_CHECK, "warn", short, checks.cache_shortfall, message)
    if short < -checks.cache_shortfall and size is None:
        message = (
            f"{shares}: {(apart <= -block).sum()} of {len(apart)} requests had a block or more that no "
            "request before them has. The server knew these prompts from before, or counts otherwise: "
            "TTFT may be better than it should be."
        )
        return verdict(_CHECK, "fail", short, -checks.cache_shortfall, message)
    return verdict(_CHECK, "pass", short, checks.cache_shortfall, f"{shares}: {lacking}.")
