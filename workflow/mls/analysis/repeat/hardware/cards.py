"""The cards during one run: post-processing from the records, the rest from the telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Ints, floats
from mls.analysis.repeat.hardware.energy import energy_j, per_1000_tokens
from mls.analysis.repeat.hardware.series import Series
from mls.analysis.repeat.samples import distribution
from mls.core.summary import Distribution, Gpu, Post

POWER_CAP = "power cap"
SLOWED = {
    0x04: POWER_CAP,
    0x08: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
"""Bits of NVML's clock event reasons (`nvmlClocksEventReason…`) that mean slowed clocks."""
MEMORY = "server_memory_mib"
IDLE = 0x01
"""The bit for clocks that are low since the card is idle."""


@dataclass(frozen=True)
class PostFacts:
    """Facts of the post-processing that the records lack, see `core.summary.Post`."""

    mode: Literal["on", "auto"]
    work: int
    reason: str | None
    cards: list[str]


def summarize_cards(
    table: pa.Table,
    post: PostFacts | None,
    by_name: dict[tuple[str, str], Series],
    span_ns: tuple[int, int] | None,
    tokens: int,
    server_here: bool = True,
) -> Gpu | None:
    """`summary.gpu`; None when there is neither a card nor post-processing.

    table: the run's records. by_name: its telemetry, see `series`. span_ns: first start and last
    end. tokens: completion tokens. server_here: whether the server is on the host of the telemetry.
    """
    cards = sorted({source for source, _ in by_name if source.startswith("gpu")})
    cards = [c for c in cards if _in_use(c, by_name, post)] or cards
    if post is None and not cards:
        return None
    names = [card.removeprefix("gpu") for card in cards]
    serving = _serving(cards, by_name, post) if server_here else None
    summary = Gpu(post=_post(table, post) if post else None, devices=names, serving=serving)
    if not cards or span_ns is None:
        return summary
    begin, end = span_ns

    def series_of(name: str) -> list[Series]:
        whole = [by_name[card, name] for card in cards if (card, name) in by_name]
        return [s for one in whole if len((s := one.between(begin, end)).value)]

    shares = [share for c in cards if (share := _share_of_max(c, by_name, begin, end)) is not None]
    bits = [_slow_bits(one) for one in series_of("clock_reasons")]
    counters = [(by_name.get((c, "energy_j")), by_name.get((c, "power_w"))) for c in cards]
    energy = energy_j(counters, begin, end)
    return summary.model_copy(
        update={
            "memory_used_mib": _summed(series_of("memory_used_mib")),
            "server_memory_mib": _summed(series_of("server_memory_mib")),
            "utilization": _pooled(series_of("utilization")),
            "power_w": _summed(series_of("power_w")),
            "temperature_c": _pooled(series_of("temperature_c")),
            "sm_mhz": _pooled(series_of("sm_mhz")),
            "sm_share_of_max": min(shares, default=None),
            "energy_j": energy,
            "energy_j_per_1000_tokens": per_1000_tokens(energy, tokens),
            "throttled_share": float(np.mean(np.concatenate(bits) != 0)) if bits else None,
            "throttle_reasons": _reasons(bits),
        }
    )


def _post(table: pa.Table, facts: PostFacts) -> Post:
    def of(column: str) -> Distribution:
        values = floats(table, column)
        return distribution(values[~np.isnan(values)])

    return Post(
        asked=facts.mode,
        work=facts.work,
        reason=facts.reason,
        cards=facts.cards,
        total_ms=of("post_ms"),
        copy_ms=of("post_copy_ms"),
        kernel_ms=of("post_kernel_ms"),
    )


def _in_use(card: str, by_name: dict[tuple[str, str], Series], post: PostFacts | None) -> bool:
    """Whether the server or the post-processing used this card."""
    server = by_name.get((card, "server_memory_mib"))
    by_server = server is not None and bool(np.any(server.value > 0))
    return by_server or any(
        f"gpu{entry.split()[0]}" == card for entry in (post.cards if post else [])
    )


def _serving(
    cards: list[str], by_name: dict[tuple[str, str], Series], post: PostFacts | None
) -> int | None:
    """Number of cards that serve: those with memory of the server, else the only card that works.

    None where nothing tells: many drivers in containers don't say whose memory it is.
    """
    holds = [by_name[c, MEMORY] for c in cards if (c, MEMORY) in by_name]
    if count := sum(bool(np.any(one.value > 0)) for one in holds):
        return count
    if len(cards) != 1 or post is not None:
        return None
    works = by_name.get((cards[0], "utilization"))
    return 1 if works is not None and np.any(works.value > 0) else None


def _summed(series_by_card: list[Series]) -> Distribution | None:
    """Distribution of the sum over cards. Sample i is of the same moment on all of them."""
    if not series_by_card:
        return None
    length = min(len(one.value) for one in series_by_card)
    return distribution(np.sum([one.value[:length] for one in series_by_card], axis=0))


def _pooled(series_by_card: list[Series]) -> Distribution | None:
    return (
        distribution(np.concatenate([one.value for one in series_by_card]))
        if series_by_card
        else None
    )


def _share_of_max(
    card: str, by_name: dict[tuple[str, str], Series], begin: int, end: int
) -> float | None:
    """Median of the SM clock over its highest, of samples in which the card wasn't idle."""
    names = ("sm_mhz", "sm_max_mhz", "clock_reasons")
    if any((card, name) not in by_name for name in names):
        return None
    clock, highest, reasons = (by_name[card, name].between(begin, end).value for name in names)
    length = min(map(len, (clock, highest, reasons)))  # sampled together
    busy = (reasons[:length].astype(np.int64) & IDLE) == 0
    return float(np.median(clock[:length][busy] / highest[:length][busy])) if busy.any() else None


def _slow_bits(reasons: Series) -> Ints:
    return reasons.value.astype(np.int64) & sum(SLOWED)


def _reasons(bits: list[Ints]) -> list[str]:
    union = int(np.bitwise_or.reduce(np.concatenate(bits))) if bits else 0
    return [name for bit, name in SLOWED.items() if union & bit]
