"""The cards over one run: post-processing from the records, the rest from the telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeat.columns import Floats, Ints, floats
from mls.analysis.repeat.samples import distribution
from mls.core.run_result import Distribution, Gpu, Post
from mls.core.units import NS_PER_S

POWER_CAP = "power cap"
SLOWED = {
    0x04: POWER_CAP,
    0x08: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
"""Bits of NVML's clock event reasons (`nvmlClocksEventReason…`) that mean slowed clocks."""
IDLE = 0x01
"""The same: clocks are low as there is nothing to do."""

TOKENS = 1000


@dataclass(frozen=True)
class PostFacts:
    """What the records don't say of the post-processing; see `model.result.Post`."""

    asked: Literal["on", "auto"]
    work: int
    reason: str | None
    cards: list[str]


@dataclass(frozen=True)
class Series:
    """One figure of the telemetry over time; both arrays have one entry a sample."""

    at_ns: Ints
    value: Floats

    def between(self, begin_ns: int, end_ns: int) -> Series:
        """The samples from begin to end."""
        inside = (self.at_ns >= begin_ns) & (self.at_ns <= end_ns)
        return Series(self.at_ns[inside], self.value[inside])


def series(telemetry: pa.Table) -> dict[tuple[str, str], Series]:
    """(source, name) → its series. telemetry: schema `mls.core.record.TELEMETRY`."""
    found = {}
    keys = telemetry.select(["source", "name"]).group_by(["source", "name"]).aggregate([])
    for key in keys.to_pylist():
        mine = telemetry.filter(
            pc.and_(
                pc.equal(telemetry["source"], key["source"]),
                pc.equal(telemetry["name"], key["name"]),
            )
        )
        found[key["source"], key["name"]] = Series(
            mine["at_ns"].to_numpy(), mine["value"].to_numpy()
        )
    return dict(sorted(found.items()))


def summarize_cards(
    table: pa.Table,
    post: PostFacts | None,
    telemetry: pa.Table | None,
    span_ns: tuple[int, int] | None,
    tokens: int,
) -> Gpu | None:
    """`summary.gpu`; None when there is neither a card nor a word about post-processing.

    table: the run's records; span_ns: first start and last end; tokens: completion tokens.
    """
    known = series(telemetry) if telemetry is not None else {}
    cards = sorted({source for source, _ in known if source.startswith("gpu")})
    cards = [c for c in cards if _used(c, known, post)] or cards
    if post is None and not cards:
        return None
    names = [card.removeprefix("gpu") for card in cards]
    found = Gpu(post=_post(table, post) if post else None, devices=names)
    if not cards or span_ns is None:
        return found
    begin, end = span_ns

    def of(name: str) -> list[Series]:
        every = [known[card, name] for card in cards if (card, name) in known]
        return [s for one in every if len((s := one.between(begin, end)).value)]

    shares = [share for c in cards if (share := _share_of_max(c, known, begin, end)) is not None]
    slowed = [_slowed(one) for one in of("clock_reasons")]
    energy = _energy_j([(known.get((c, "energy_j")), known.get((c, "power_w"))) for c in cards],
                       begin, end)  # fmt: skip
    return found.model_copy(
        update={
            "memory_used_mib": _summed(of("memory_used_mib")),
            "server_memory_mib": _summed(of("server_memory_mib")),
            "utilization": _pooled(of("utilization")),
            "power_w": _summed(of("power_w")),
            "temperature_c": _pooled(of("temperature_c")),
            "sm_mhz": _pooled(of("sm_mhz")),
            "sm_share_of_max": min(shares, default=None),
            "energy_j": energy,
            "energy_j_per_1000_tokens": energy / tokens * TOKENS if energy and tokens else None,
            "throttled_share": float(np.mean(np.concatenate(slowed) != 0)) if slowed else None,
            "throttle_reasons": _reasons(slowed),
        }
    )


def _post(table: pa.Table, facts: PostFacts) -> Post:
    def of(column: str) -> Distribution:
        values = floats(table, column)
        return distribution(values[~np.isnan(values)])

    return Post(
        asked=facts.asked,
        work=facts.work,
        reason=facts.reason,
        cards=facts.cards,
        total_ms=of("post_ms"),
        copy_ms=of("post_copy_ms"),
        kernel_ms=of("post_kernel_ms"),
    )


def _used(card: str, known: dict[tuple[str, str], Series], post: PostFacts | None) -> bool:
    """Whether the server or the post-processing was on this card; others idle beside them."""
    server = known.get((card, "server_memory_mib"))
    mine = server is not None and bool(np.any(server.value > 0))
    return mine or any(f"gpu{used.split()[0]}" == card for used in (post.cards if post else []))


def _summed(every: list[Series]) -> Distribution | None:
    """Of the sum over cards; they are sampled together, so sample i is the same moment on all."""
    if not every:
        return None
    length = min(len(one.value) for one in every)
    return distribution(np.sum([one.value[:length] for one in every], axis=0))


def _pooled(every: list[Series]) -> Distribution | None:
    return distribution(np.concatenate([one.value for one in every])) if every else None


def _energy_j(
    cards: list[tuple[Series | None, Series | None]], begin: int, end: int
) -> float | None:
    """By the cards' own counters where they have them, else the integral of their power."""
    total = 0.0
    for counter, power in cards:
        if counter is not None and len(counter.value) > 1:
            low, high = np.interp([begin, end], counter.at_ns, counter.value)
            total += float(high - low)
        elif power is not None and len(power.value) > 1:
            inside = power.between(begin, end)
            at = np.concatenate([[begin], inside.at_ns, [end]])
            watts = np.interp(at, power.at_ns, power.value)
            total += float(np.trapezoid(watts, at) / NS_PER_S)
        else:
            return None
    return total


def _share_of_max(
    card: str, known: dict[tuple[str, str], Series], begin: int, end: int
) -> float | None:
    """Median SM clock of the samples in which the card wasn't idle, of its highest."""
    names = ("sm_mhz", "sm_max_mhz", "clock_reasons")
    if any((card, name) not in known for name in names):
        return None
    clock, highest, reasons = (known[card, name].between(begin, end).value for name in names)
    length = min(map(len, (clock, highest, reasons)))  # sampled together
    busy = (reasons[:length].astype(np.int64) & IDLE) == 0
    return float(np.median(clock[:length][busy] / highest[:length][busy])) if busy.any() else None


def _slowed(reasons: Series) -> Ints:
    return reasons.value.astype(np.int64) & sum(SLOWED)


def _reasons(slowed: list[Ints]) -> list[str]:
    seen = int(np.bitwise_or.reduce(np.concatenate(slowed))) if slowed else 0
    return [name for bit, name in SLOWED.items() if seen & bit]
