"""All checks, in the order in which they are shown.

A new check needs a function in a file here or in the folder of its subject, and a line in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mls.analysis.checks.answered import answered
from mls.analysis.checks.client import arrival_clock, client_kept_up, errors
from mls.analysis.checks.depth import depth_as_asked
from mls.analysis.checks.machine.card import card_at_full_clocks
from mls.analysis.checks.machine.clocks import clocks_agree
from mls.analysis.checks.machine.quiet_host import quiet_host
from mls.analysis.checks.pace import load_held
from mls.analysis.checks.replies import cache_as_asked, prompts_as_asked, work_as_asked
from mls.analysis.checks.replies_alike import replies_alike
from mls.analysis.checks.replies_sound import replies_sound
from mls.analysis.checks.server.books import books_agree, server_time_fits
from mls.analysis.checks.server.cache_hits import cache_hits_as_possible
from mls.analysis.checks.server.drafts import drafts_agree, drafts_as_asked
from mls.analysis.checks.server.fair_servers import fair_servers
from mls.analysis.checks.server.histograms import server_histograms_agree
from mls.analysis.checks.server.served_at_once import served_at_once
from mls.analysis.checks.server.slots_freed import slots_freed
from mls.analysis.checks.steady import window_alike
from mls.analysis.repeat.evidence import Evidence
from mls.core.run_result import Verdict

Judgement = Verdict | Iterable[Verdict] | None
"""What a check returns. None or no verdict: the check doesn't apply to the repeat."""


@dataclass(frozen=True)
class Check:
    """A check. judge: from the evidence of one repeat to verdicts with these names."""

    names: tuple[str, ...]
    judge: Callable[[Evidence], Judgement]


CHECKS = (
    Check(("errors",), errors),
    Check(("concurrency_held", "server_kept_up"), load_held),
    Check(("served_at_once",), served_at_once),
    Check(("slots_freed",), slots_freed),
    Check(("client_kept_up",), client_kept_up),
    Check(("arrival_clock",), arrival_clock),
    Check(("cache_as_asked",), cache_as_asked),
    Check(("depth_as_asked",), depth_as_asked),
    Check(("cache_hits_as_possible",), cache_hits_as_possible),
    Check(("work_as_asked",), work_as_asked),
    Check(("prompts_as_asked",), prompts_as_asked),
    Check(("replies_sound",), replies_sound),
    Check(("answered",), answered),
    Check(("replies_alike",), replies_alike),
    Check(("books_agree",), books_agree),
    Check(("drafts_as_asked",), drafts_as_asked),
    Check(("drafts_agree",), drafts_agree),
    Check(("server_time_fits",), server_time_fits),
    Check(("server_histograms_agree",), server_histograms_agree),
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
    "references_alike",
    "ranks_alike",
    "measured_together",
)
"""Names of the checks of whole cells. `analysis.study` calls them."""

_TITLES = {"prompts_as_asked": "prompt lengths as asked"}


def judge(evidence: Evidence, checks: Iterable[Check] = CHECKS) -> list[Verdict]:
    """The verdicts of these checks on one repeat, always in the same order."""
    return [verdict for check in checks for verdict in _as_verdicts(check.judge(evidence))]


def title(name: str) -> str:
    """The name of a check for people."""
    return _TITLES.get(name, name.replace("_", " "))


def _as_verdicts(judgement: Judgement) -> Iterable[Verdict]:
    if judgement is None:
        return ()
    return (judgement,) if isinstance(judgement, Verdict) else judgement
