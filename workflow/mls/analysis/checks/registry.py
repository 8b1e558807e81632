"""All checks, in the order in which they are shown: each a file beside this one, or a family of a file.

To add one: its file, and its line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mls.analysis.checks.books import books_agree, server_time_fits
from mls.analysis.checks.card import card_at_full_clocks
from mls.analysis.checks.client import arrival_clock, client_kept_up, errors
from mls.analysis.checks.clocks import clocks_agree
from mls.analysis.checks.fair_servers import fair_servers
from mls.analysis.checks.pace import load_held
from mls.analysis.checks.quiet_host import quiet_host
from mls.analysis.checks.replies import cache_as_asked, prompts_as_asked, work_as_asked
from mls.analysis.checks.steady import window_alike
from mls.analysis.repeat.evidence import Evidence
from mls.core.run_result import Verdict

Found = Verdict | Iterable[Verdict] | None
"""None, or no verdict: the check has nothing to say about such a repeat."""


@dataclass(frozen=True)
class Check:
    """judge: from the evidence of one repeat to verdicts of these names."""

    names: tuple[str, ...]
    judge: Callable[[Evidence], Found]


CHECKS = (
    Check(("errors",), errors),
    Check(("concurrency_held", "server_kept_up"), load_held),
    Check(("client_kept_up",), client_kept_up),
    Check(("arrival_clock",), arrival_clock),
    Check(("cache_as_asked",), cache_as_asked),
    Check(("work_as_asked",), work_as_asked),
    Check(("prompts_as_asked",), prompts_as_asked),
    Check(("books_agree",), books_agree),
    Check(("server_time_fits",), server_time_fits),
    Check(("steady", "warmed_up"), window_alike),
    Check(("fair_servers",), fair_servers),
    Check(("quiet_host",), quiet_host),
    Check(("clocks_agree",), clocks_agree),
    Check(("card_at_full_clocks",), card_at_full_clocks),
)

OF_CELLS = (
    "enough_requests",
    "repeats_agree",
    "same_thing_measured",
    "ranks_alike",
    "measured_together",
)
"""Names of the checks of whole cells, which `analysis.study` makes."""

_TITLES = {"prompts_as_asked": "prompt lengths as asked"}


def judge(evidence: Evidence) -> list[Verdict]:
    """All verdicts on one repeat, always in the same order."""
    return [verdict for check in CHECKS for verdict in _listed(check.judge(evidence))]


def title(name: str) -> str:
    """A check as people call it."""
    return _TITLES.get(name, name.replace("_", " "))


def _listed(found: Found) -> Iterable[Verdict]:
    if found is None:
        return ()
    return (found,) if isinstance(found, Verdict) else found
