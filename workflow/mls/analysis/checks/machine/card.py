"""Did the card run at its full clocks?"""

from __future__ import annotations

from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.analysis.repeat.hardware.cards import POWER_CAP
from mls.analysis.sample_size import least_samples
from mls.core.run_result import Verdict

SAMPLES = least_samples(90)
"""The least number of samples. Fewer may all miss clocks that are slowed a tenth of the time."""


def card_at_full_clocks(evidence: Evidence) -> Verdict | None:
    """Whether the card's clocks were slowed. None where there is no card."""
    card = evidence.summary.gpu
    if card is None or not card.devices:
        return None
    if card.throttled_share is None:
        message = "The card doesn't say whether its clocks were slowed."
        return verdict("card_at_full_clocks", "unknown", None, 0.0, message)
    share, clock, least = card.throttled_share, card.sm_share_of_max, evidence.checks.card_clock
    if not share and clock is not None and clock < least:
        message = (
            f"The card's SM clock was {clock:.0%} of its highest, and the card names no reason: "
            "clocks may have been set (`nvidia-smi -rgc` lets them go)."
        )
        return verdict("card_at_full_clocks", "warn", clock, least, message)
    samples = card.sm_mhz.n // len(card.devices) if card.sm_mhz else SAMPLES
    if not share and samples < SAMPLES:
        message = (
            f"Only {samples} samples of the card's clocks were taken, which may have missed slowed "
            f"clocks: {SAMPLES} would tell; measure longer."
        )
        return verdict("card_at_full_clocks", "unknown", share, 0.0, message)
    if not share:
        clock_text = "" if clock is None else f"; its SM clock was {clock:.0%} of its highest"
        message = f"No sample of the card shows slowed clocks{clock_text}."
        return verdict("card_at_full_clocks", "pass", share, 0.0, message)
    # a power cap is how cards are run; heat and their own protection are faults of the host
    status: Status = "warn" if card.throttle_reasons == [POWER_CAP] else "fail"
    message = (
        f"The card's clocks were slowed in {share:.0%} of the samples "
        f"({', '.join(card.throttle_reasons)}): a cooler or better fed card would be faster."
    )
    return verdict("card_at_full_clocks", status, share, 0.0, message)
