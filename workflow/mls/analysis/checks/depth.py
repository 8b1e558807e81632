"""Were prompts processed at the depth that the workload asks for?"""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import ints, succeeded
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.run_result import Verdict

_LEAST_NEW = 0.5
"""Share of the new tokens that must not have come from a cache. A template's may: all have them."""


def depth_as_asked(evidence: Evidence) -> Verdict | None:
    """Whether each prompt had the depth in the server's cache, and its new tokens not.

    None for other workloads.
    """
    if evidence.workload.kind != "depth":
        return None
    depth, most_missing = evidence.workload.depth, evidence.checks.depth_missing
    ok = succeeded(evidence.table)
    cached, prompt = ints(evidence.table, "cached_tokens"), ints(evidence.table, "prompt_tokens")
    known = ok & cached.valid & prompt.valid
    count, silent = int(known.sum()), int((ok & ~known).sum())
    if not count:
        message = "The server doesn't say how much of a prompt it took from its cache, so at which depth it read the rest isn't known."
        return verdict("depth_as_asked", "unknown", None, float(depth), message)
    own = cached.values[known]
    least = int(own.min())
    shallow = int((own < depth * (1 - most_missing)).sum())
    block = evidence.server_figures.cache_block or 1
    # What is new is what the prompt has beyond the depth, by the server's own count
    beyond = np.maximum(prompt.values[known] - depth, 1)
    stale = int((prompt.values[known] - own < _LEAST_NEW * beyond).sum())
    status: Status = "fail"
    if shallow and depth - least < block:
        message = (
            f"{shallow} of {count} prompts had less than the {depth} tokens in the cache (least {least}), as the "
            f"server caches by {block} tokens: choose a depth that is a multiple of these."
        )
    elif shallow:
        message = (
            f"{shallow} of {count} prompts had less than the {depth} tokens in the cache (least {least}): "
            "they were not processed at that depth. Is a slot's context long enough, was each slot warmed up, "
            "and can the model's cache go back so far (with a sliding window or a recurrent state it may not)?"
        )
    elif stale:
        message = (
            f"Of {stale} of {count} prompts the new tokens came mostly from the cache, too: the server "
            "has had them before, or the chat template is most of them. What it read is too little to tell its "
            "speed: start it anew, choose another seed, or ask for more prompt_tokens."
        )
    elif silent:
        status = "unknown"
        message = f"The server doesn't say how much of {silent} of {count + silent} prompts it took from its cache."
    else:
        status = "pass"
        message = f"All {count} prompts had the {depth} tokens in the cache (least {least}, most {int(own.max())})."
    return verdict("depth_as_asked", status, float(least), float(depth), message)
