"""Did the server's cache have what prompts share?"""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import Ints, ints, succeeded
from mls.analysis.repeat.evidence import Evidence, verdict
from mls.core.run_result import Verdict

_CHECK = "cache_hits_as_possible"
_STEPS = (16, 32, 64, 128)
"""Tokens of a block in which a server may cache that doesn't say it."""

_TEMPLATE_END = 16
"""Most tokens that a template puts after the user's text."""
_NOTHING = (
    " Is its cache on, and are the blocks in which it caches no longer than what prompts share?"
)
_NO_MORE = " It had no more of them than of prompts whose beginnings are new, as of a template."


def cache_hits_as_possible(evidence: Evidence) -> Verdict | None:
    """The server's cached tokens against those of an ideal cache.

    None without caching, and where nobody knows what prompts share. A request counts where both
    differ by a block or more: a server may cache in steps of its own, and the chat template's end
    is in no other prompt. Of blocks, what one request lacks since another one came before it, that
    other one has, so requests may pass each other on their way.
    """
    table, threshold = evidence.table, evidence.checks.cache_shortfall
    ideal, rows = evidence.ideal_cache, succeeded(table)
    if ideal is None or not evidence.run.cache_prompt or not rows.any():
        return None
    cached, prompts = ints(table, "cached_tokens"), ints(table, "prompt_tokens")
    said = cached.valid & prompts.valid
    known = ~np.isnan(ideal.due)
    for missing, message in (
        (~said, "The server doesn't say how much of {} prompts it took from its cache."),
        (~known, f"What a cache can have of {{}} prompts isn't known: {_why_not(evidence)}."),
    ):
        if count := int((rows & missing).sum()):
            number = f"{count} of {rows.sum()}" if count < rows.sum() else "its"
            return verdict(_CHECK, "unknown", None, threshold, message.format(number))
    had, due, most = cached.values[rows], ideal.due[rows], ideal.most[rows]
    nothing = not (had[due > 0] > had[due == 0].max(initial=0)).any()
    of_trace = evidence.workload.block_tokens if evidence.workload.kind == "blocks" else _STEPS[0]
    server_block = evidence.server_figures.cache_block
    block = max(of_trace, server_block or (_STEPS[0] if nothing else _step(had)))
    lacks, beyond = due - had, had - most
    lacking, exceeding = lacks >= block + _end(evidence), beyond >= block
    tokens = int(prompts.values[rows].sum())
    short = float((lacks[lacking].sum() - beyond[exceeding].sum()) / tokens)
    could = ideal.tokens[rows].sum() / tokens
    size = evidence.workload.cache_tokens
    kind = f"of {size} tokens" if size else "that keeps all"
    shares = f"The server took {had.sum() / tokens:.1%} of the prompt tokens from its cache" + (
        "" if np.isnan(could) else f", an ideal cache {kind} has {could:.1%}"
    )
    lacking_text = f"{lacking.sum()} of {len(had)} requests lack {block} tokens or more"
    if block > of_trace:
        lacking_text += ", a block of its cache" if server_block else ", by which it seems to cache"
    if short > threshold:
        reason = (_NO_MORE if had.any() else _NOTHING) if nothing else ""
        message = f"{shares}: {lacking_text}.{reason} {_help(evidence)}"
        return verdict(_CHECK, "warn", short, threshold, message)
    if short < -threshold and size is None:
        message = (
            f"{shares}: {exceeding.sum()} of {len(had)} requests had {block} tokens or more that no "
            "request before them has. The server knew these prompts from before, or counts otherwise: "
            "TTFT may be better than it should be."
        )
        return verdict(_CHECK, "fail", short, -threshold, message)
    return verdict(_CHECK, "pass", short, threshold, f"{shares}: {lacking_text}.")


def _end(evidence: Evidence) -> int:
    """Tokens at a prompt's end that may be the template's, where they count as a block's."""
    if evidence.workload.kind != "blocks":
        return 0
    around = evidence.template.tokens
    return _TEMPLATE_END if around is None else min(around, _TEMPLATE_END)


def _step(cached: Ints) -> int:
    """Tokens of a block in which the server seems to cache: the greatest that divides all counts."""
    divisor = int(np.gcd.reduce(cached))
    return max((step for step in _STEPS if divisor and divisor % step == 0), default=_STEPS[0])


def _why_not(evidence: Evidence) -> str:
    if not evidence.workload.converses:
        return "they aren't of the tokens asked for, so neither is what they share"
    if evidence.template.keeps_history is False:
        return "the chat template writes what was said before otherwise in each turn"
    return "the server doesn't count the tokens of each prompt"


def _help(evidence: Evidence) -> str:
    if evidence.workload.converses:
        sentence = (
            "What helps is a larger cache, one for as many conversations as are in flight or pause "
            "(llama.cpp has one for each slot, of its last prompt, and by --cache-ram one of idle slots; "
            "each server has its own)."
        )
        if evidence.template.keeps_history is None:
            sentence += (
                " A chat template that writes what was said before otherwise in each turn has the same "
                "effect; this server doesn't show what its own does."
            )
        return sentence
    sentence = (
        "What helps is a larger cache, one that all requests share (each server has its own, llama.cpp "
        "one for each slot, of its last prompt, and by --cache-ram one of idle slots)"
    )
    if evidence.workload.kind == "blocks":
        return (
            f"{sentence}, and fewer requests in flight, as none has what another one is still "
            "waiting for."
        )
    return f"{sentence}."
