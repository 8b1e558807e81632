"""Does the server stop when the client hangs up, or does it generate on for nobody?"""

from __future__ import annotations

from mls.analysis.repeat.evidence import WORSE, Evidence, Status, excess, verdict
from mls.core.run_result import Verdict
from mls.core.summary import HangUps

_TELLING: tuple[Status, ...] = ("unknown", "pass", "warn", "fail")
"""Statuses of one sign, each of which tells more than the one before."""


def slots_freed(evidence: Evidence) -> Verdict | None:
    """By who came next, and by the server's counters: the worse of those that tell. None without hang-ups.

    Each has the share of the rests of replies that the server generated. A prompt that is being
    read may be read to its end: engines look up between batches of it.
    """
    figures, threshold = evidence.summary.hang_ups, evidence.checks.generation_after_hang_up
    if figures is None:
        return None
    shares, texts, by_next = [], [], list[Status]()
    for freed, when in (
        (figures.in_reply, "in a reply"),
        (figures.in_prompt, "before the first token"),
    ):
        if freed.share is None:
            continue
        assert freed.share_low is not None and freed.share_high is not None
        shares.append(freed.share)
        by_next.append(_status(freed.share_low, freed.share_high, threshold))
        texts.append(
            f"after {freed.n} hang-ups {when} the next request's first token took {freed.freed_ms:.0f} ms "
            f"longer than after a complete reply (95 %: {freed.low_ms:.0f} to {freed.high_ms:.0f}), of "
            f"{freed.kept_ms:.0f} ms that it had taken if the server had generated on"
        )
    statuses = {max(by_next, key=WORSE.index)} if by_next else set[Status]()
    if (share := figures.generated_share) is not None:
        shares.append(share)
        statuses.add(_status(share, share, threshold))
        texts.append(f"by its counters the server generated {share:.0%} of what the replies lacked")
    if not texts:
        return verdict("slots_freed", "unknown", None, threshold, _why_unknown(evidence, figures))
    status: Status = max(statuses, key=_TELLING.index)
    text = "; ".join(texts)
    message = f"{text[0].upper()}{text[1:]}{_consequence(status)}."
    return verdict("slots_freed", status, max(shares), threshold, message)


def _status(low: float, high: float, threshold: float) -> Status:
    """`unknown` where twice the threshold might not have shown."""
    if low > threshold:
        return excess(low, threshold)
    return "pass" if high < 2 * threshold else "unknown"


def _consequence(status: Status) -> str:
    if status in ("warn", "fail"):
        return (
            ": it goes on for requests that nobody waits for, and others wait for their slots. Look "
            "for a setting that aborts requests when clients disconnect, also of a proxy in between"
        )
    return "" if status == "pass" else ": too few to tell. Send more requests"


def _why_unknown(evidence: Evidence, figures: HangUps) -> str:
    count = evidence.summary.requests.cancelled
    what = f"Whether the server stops for the {count} requests that were cancelled can't be told"
    if seen := figures.in_reply.n + figures.in_prompt.n:
        return f"{what} by the {seen} that came next: send more requests."
    return (
        f"{what}: it has no counters of tokens that can be compared, or the run is too short for them, and "
        "there are not as many places as it has slots, all of them taken (run.inflight, server.parallel)."
    )
