"""Does a prompt get the reply under load that it gets alone?

Batching changes the low bits of a model's arithmetic, so that now and then another token is the
likeliest, and all that follows differs: that is no fault. A fault differs at once, or often, or
loses characters. What the server makes of a prompt asked again alone is known, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.checks.divergence import Count, compared, trials_for
from mls.analysis.repeat.columns import Bools, Floats, floats
from mls.analysis.repeat.evidence import WORSE, Evidence, Status, excess, verdict
from mls.core.run_result import CanaryReport, Verdict

CHECK = "replies_alike"

AT_ONCE = 4
"""Tokens within which a reply differs at once."""


@dataclass(frozen=True)
class _Finding:
    status: Status
    measured: float
    threshold: float
    sentence: str = ""


class _Canaries:
    """The answered canaries of a run."""

    def __init__(self, table: pa.Table, evidence: Evidence, report: CanaryReport) -> None:
        """table: their records."""
        kinds = table.column("canary_difference")
        self.evidence = evidence
        self.tokens: Floats = floats(table, "canary_tokens")
        self.differs: Bools = pc.not_equal(kinds, "none").to_numpy()
        self.lost: Bools = pc.equal(kinds, "lost").to_numpy()
        self.swapped: Bools = pc.equal(kinds, "swapped").to_numpy()
        self.alone = compared(
            [each.again != "none" for each in report.references],
            [each.again_tokens for each in report.references],
        )
        self.references = len(report.references)

    @property
    def under_load(self) -> Count:
        return compared(self.differs.tolist(), self.tokens.tolist())

    @property
    def at_once(self) -> Bools:
        return self.differs & ((self.tokens < AT_ONCE) | self.swapped)

    @property
    def facts(self) -> str:
        """The counts, in a sentence."""
        count, alone = int(self.differs.sum()), self.alone.events
        where = ""
        if count:
            where = f", after {np.median(self.tokens[self.differs]):.0f} tokens"
            where += " in the median" if count > 1 else ""
        return (
            f"Of {len(self.differs)} replies to canaries {count} differ under load from the reply alone"
            f"{where}; asked again alone, {alone} of {self.references} do. Of {self.under_load.trials} tokens "
            f"compared under load {self.under_load.share:.1%} are a first difference, at most "
            f"{self.under_load.most:.1%}."
        )


def replies_alike(evidence: Evidence) -> Verdict | None:
    """The verdict on the canaries of a run by the worst finding.

    None for embeddings, and where the config leaves no room for canaries.
    """
    limit, report = evidence.checks.diverging_tokens, evidence.canaries
    if evidence.run.embeds or (report and report.ruled_out):
        return None
    if report is None:
        message = (
            "The records are of a version that sent no canaries: measure again to know whether replies "
            "under load are those alone."
        )
        return verdict(CHECK, "unknown", None, limit, message)
    if not report.references:
        message = f"No canaries were sent, so replies under load can't be held against any alone: {report.why_none}"
        return verdict(CHECK, "unknown", None, limit, message)
    table = evidence.table.filter(pc.is_valid(evidence.table.column("canary_difference")))
    if not table.num_rows:
        return verdict(CHECK, "unknown", None, limit, "No canary was answered under load.")
    canaries = _Canaries(table, evidence, report)
    findings = [judge(canaries) for judge in (_lost, _at_once, _often)]
    worst = max(findings, key=lambda finding: WORSE.index(finding.status))
    sentences = [finding.sentence for finding in findings if finding.status == worst.status]
    message = " ".join([canaries.facts, *filter(None, sentences)])
    return verdict(CHECK, worst.status, worst.measured, worst.threshold, message)


def _lost(canaries: _Canaries) -> _Finding:
    """Replies that lack characters of the reply alone, and have all others."""
    threshold = canaries.evidence.checks.unsound_replies
    count = Count(int(canaries.lost.sum()), len(canaries.lost))
    if not count.events:
        return _Finding("pass", 0.0, threshold)
    sentence = f"{count.events} lack some characters and go on as the reply alone does: they were lost on their way."
    # A model may by itself leave out one letter, once
    status: Status = excess(count.share, threshold) if count.events > 1 else "warn"
    return _Finding(status, count.share, threshold, sentence)


def _at_once(canaries: _Canaries) -> _Finding:
    """Replies that differ from their beginning on, as no change of low bits makes many of them."""
    threshold = canaries.evidence.checks.unlike_replies
    count = Count(int(canaries.at_once.sum()), len(canaries.at_once))
    swapped = int(canaries.swapped.sum())
    sentence = f"{count.events} differ within {AT_ONCE} tokens" + (
        f", {swapped} of them as they are replies to another canary." if swapped else "."
    )
    return _judge(canaries, count, threshold, sentence, "replies to canaries")


def _often(canaries: _Canaries) -> _Finding:
    """Differences anywhere, for each token that was compared."""
    threshold = canaries.evidence.checks.diverging_tokens
    count = canaries.under_load
    sentence = f"First differences are more than {threshold:.1%} of the tokens."
    return _judge(canaries, count, threshold, sentence, "tokens to compare")


def _judge(
    canaries: _Canaries, count: Count, threshold: float, sentence: str, what: str
) -> _Finding:
    """The finding by a count's share, its bounds, and the differences alone."""
    share = count.share
    if share > threshold and count.least > threshold:
        if canaries.under_load.beyond(canaries.alone):
            return _Finding(excess(share, threshold), share, threshold, sentence)
        sentence += " It differs as much from itself alone, so that load can't be told to matter."
        return _Finding("unknown", share, threshold, sentence)
    if count.most < 2 * threshold:
        return _Finding("pass", share, threshold)
    if count.events:
        seen = f"by {count.trials} {what}, of which {count.events} differ so: more of them would tell (replies.canaries, and run.rounds or run.iters)."
    else:
        seen = f"by {count.trials} {what}: it takes {trials_for(2 * threshold)}."
    sentence = f"A share of twice {threshold:g} can't be excluded {seen}"
    return _Finding("unknown", share, threshold, sentence)
