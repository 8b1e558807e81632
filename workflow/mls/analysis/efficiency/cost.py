"""Cost of tokens: the price of the server's time over the tokens that it handled in it."""

from __future__ import annotations

from collections.abc import Sequence

from mls.analysis import intervals
from mls.analysis.intervals import Estimate
from mls.core.summary import Summary
from mls.core.units import S_PER_HOUR

MILLION = 1_000_000
KINDS = ("completion_tokens", "prompt_tokens", "tokens")
"""Tokens out, in, and both together: the whole price is divided by the tokens of the kind."""


def metric(rates: str, kind: str) -> str:
    """The cost's name among a cell's estimates. rates: `throughput` or `overall`."""
    return f"{rates}.cost_per_million_{kind}"


COST = tuple(metric(rates, kind) for rates in ("throughput", "overall") for kind in KINDS)


def costs(summaries: Sequence[Summary], per_hour: float | None) -> dict[str, Estimate]:
    """Name in `COST` → cost of a million tokens. One that isn't known is left out.

    summaries: of each repeat of one cell. per_hour: price of an hour of all that serves. A cost is
    the price over the mean rate of the repeats, so its interval is that of the rate.
    """
    if per_hour is None:
        return {}
    by_name = {}
    for name, rates in _rates(summaries).items():
        rate = intervals.mean([one for one in rates if one is not None])
        if rate is not None and len(rates) == rate.repeats and rate.value > 0:
            by_name[name] = _cost(rate, per_hour)
    return by_name


def _rates(summaries: Sequence[Summary]) -> dict[str, list[float | None]]:
    """Name of a cost → tokens/s of its kind in each repeat."""
    by_name: dict[str, list[float | None]] = {name: [] for name in COST}
    for one in summaries:
        prompts = one.tokens.prompt
        within = one.throughput.completion_tokens_per_s, one.throughput.prompt_tokens_per_s
        whole = (
            one.overall.completion_tokens_per_s,
            prompts / one.wall_s if prompts is not None and one.wall_s else None,
        )
        for rates, (out, in_) in (("throughput", within), ("overall", whole)):
            both = None if out is None or in_ is None else out + in_
            for kind, rate in zip(KINDS, (out, in_, both), strict=True):
                by_name[metric(rates, kind)].append(rate)
    return by_name


def _cost(rate: Estimate, per_hour: float) -> Estimate:
    scale = per_hour / S_PER_HOUR * MILLION
    if rate.low is None or rate.high is None or rate.low <= 0:  # then it has no upper end
        return Estimate(scale / rate.value, None, None, rate.repeats)
    return Estimate(scale / rate.value, scale / rate.high, scale / rate.low, rate.repeats)
