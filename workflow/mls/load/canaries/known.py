"""The canaries of a run together with what is known of them, as every rank has them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from mls.core.record import CANARY_COLUMNS
from mls.core.run_result import CanaryReference, CanaryReport
from mls.load.canaries.difference import Difference, Reference, columns
from mls.load.canaries.plan import CanaryPlan
from mls.protocol.replies.reply import Reply

PREFIX_CHARACTERS = 16
"""Distance of the places up to which the digests of a reference are."""

_DIGITS = 16


@dataclass(frozen=True)
class References:
    """The replies alone. again: what a second asking of each gave.

    requests, tokens, wall_s: what they cost; tokens is None where the server doesn't count.
    """

    each: tuple[Reference, ...]
    again: tuple[Difference, ...]
    requests: int
    tokens: int | None
    wall_s: float


@dataclass(frozen=True)
class Canaries:
    """The canaries of a run, and their replies alone."""

    plan: CanaryPlan
    references: References

    def columns(self, job: int, reply: Reply) -> dict[str, Any]:
        """The columns `CANARY_COLUMNS` of a job's record; all null unless it is a canary."""
        number = self.plan.number(job)
        if number is None:
            return dict.fromkeys(CANARY_COLUMNS)
        each = self.references.each
        return columns(number, each[number], [*each[:number], *each[number + 1 :]], reply)

    def report(self, keep_output: bool) -> CanaryReport:
        """What `run.json` has of them. keep_output: whether it may hold texts."""
        known = self.references
        return CanaryReport(
            every=self.plan.every,
            requests=known.requests,
            tokens=known.tokens,
            wall_s=known.wall_s,
            references=[
                CanaryReference(
                    prompt_sha256=reference.prompt_sha256,
                    prefixes=prefixes(reference.text),
                    characters=len(reference.text),
                    tokens=reference.count,
                    by_tokens=reference.tokens is not None,
                    again=again.kind,
                    again_tokens=again.tokens,
                    text=reference.text if keep_output else None,
                )
                for reference, again in zip(known.each, known.again, strict=True)
            ],
        )


def prefixes(text: str) -> list[str]:
    """Digests of the text up to each 16th character, and of all of it, by which texts compare."""
    ends = [*range(PREFIX_CHARACTERS, len(text), PREFIX_CHARACTERS), len(text)]
    return [hashlib.sha256(text[:end].encode()).hexdigest()[:_DIGITS] for end in ends]
