"""Goodput: the rate of requests that meet every objective of the config."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Bools, cancelled, ints, succeeded
from mls.analysis.repeat.in_flight import Timeline
from mls.analysis.repeat.samples import of_requests
from mls.config.sections.checks import Slo
from mls.core.units import NS_PER_S


def good_requests(table: pa.Table, slo: Slo) -> Bools:
    """Successful requests with each figure within the largest of its limits.

    An unknown figure, such as the TTFT of a reply in one piece, is not within its limit.
    """
    good = succeeded(table)
    figures = of_requests(table)
    for name, limits in slo.limits.items():
        good = good & (figures[name] <= max(limits.by_percentile.values()))  # NaN compares as false
    return good


def goodput(table: pa.Table, slo: Slo, over_time: Timeline) -> dict[str, float]:
    """`good.share` of all requests that were not cancelled, and `good_requests_per_s` and `good_tokens_per_s`.

    The rates have the prefix `throughput.` for the window and `overall.` for the whole run. Tokens
    are the completion tokens of good requests that ended in that time. Unknown rates are left out:
    those of the window without one, those of tokens where counts are missing. Empty without
    objectives or requests. over_time: the timeline of the table.
    """
    course = over_time.in_flight
    if not slo.limits or not len(course.at_ns):
        return {}
    good = good_requests(table, slo)
    ends = ints(table, "end_ns").values
    tokens = ints(table, "completion_tokens")
    spans = {"overall": (int(course.at_ns[0]), int(course.at_ns[-1]))}
    if window := over_time.window:
        spans["throughput"] = window
    judged = ~cancelled(table)
    rates = {"good.share": float(good[judged].mean())} if judged.any() else {}
    for name, (begin, end) in spans.items():
        within = good & (ends > begin) & (ends <= end)
        seconds = (end - begin) / NS_PER_S
        rates[f"{name}.good_requests_per_s"] = float(np.count_nonzero(within) / seconds)
        if tokens.valid[good].all():
            rates[f"{name}.good_tokens_per_s"] = float(tokens.values[within].sum() / seconds)
    return rates
