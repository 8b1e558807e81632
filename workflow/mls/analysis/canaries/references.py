"""Replies to canaries alone, held against each other by the digests of their beginnings."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from mls.core.run_result import CanaryReference, RunResult
from mls.load.canaries.known import PREFIX_CHARACTERS

NO_MATTER = frozenset(
    {
        *("parallel", "policy", "reuse", "profile", "startup_timeout_s", "ready"),
        *("speculation", "draft_model", "draft_max", "draft_min", "draft_p_min"),
        *("url", "urls", "host", "port", "proxy", "metrics_url", "api_key_env", "headers_env"),
    }
)
"""Settings of the server that change nothing in what it says when it is asked alone.

Speculative decoding is among them: a draft is accepted only where the model itself would have said
it, unless acceptance is synthetic (`synthetic_acceptance_length`)."""

_OF_A_REQUEST = ("endpoint", "stream", "max_tokens", "ignore_eos", "request_extra")
_OF_ITS_TEXT = ("system", "output_tokens")


class Parting(NamedTuple):
    """Whether two references differ. tokens: before the first difference, or all compared.

    They are those of the text up to the last of its digests that both have.
    """

    differs: bool
    tokens: float


def parting(reference: CanaryReference, other: CanaryReference) -> Parting:
    """The parting of a reference from another one."""
    if reference.prefixes == other.prefixes:
        return Parting(False, reference.tokens)
    pairs = enumerate(zip(reference.prefixes, other.prefixes, strict=False))
    shorter = min(len(reference.prefixes), len(other.prefixes))
    steps = next((at for at, (a, b) in pairs if a != b), shorter)
    share = min(1.0, steps * PREFIX_CHARACTERS / max(1, reference.characters))
    return Parting(True, reference.tokens * share)


def references(result: RunResult) -> list[CanaryReference]:
    """The references of a repeat; empty where it has no canaries."""
    return result.canaries.references if result.canaries else []


def request(result: RunResult) -> str:
    """All that a canary's request has beside its prompt: only replies to the same compare."""
    run, workload = (result.config.get(section) or {} for section in ("run", "workload"))
    return as_key(
        [result.cell.get("model")]
        + [run.get(key) for key in _OF_A_REQUEST]
        + [workload.get(key) for key in _OF_ITS_TEXT]
    )


def as_key(facts: Any) -> str:
    """The same text for the same facts, whatever the order of their names."""
    return json.dumps(facts, sort_keys=True, default=str)
