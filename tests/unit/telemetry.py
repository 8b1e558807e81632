"""Telemetry of a run with known figures."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mls.analysis.repeat.hardware.cards import PostFacts
from mls.core.record import TELEMETRY
from mls.core.units import NS_PER_S

EVERY_NS = NS_PER_S // 5
POST = PostFacts("on", 4096, None, ["0 A card"])


def span(records: list[dict[str, Any]]) -> tuple[int, int]:
    """First start and last end of the requests, in ns."""
    return min(row["start_ns"] for row in records), max(row["end_ns"] for row in records)


def telemetry(figures: dict[str, dict[str, Any]], records: list[dict[str, Any]]) -> pa.Table:
    """Samples from a second before the requests to a second after them.

    figures: source → name → value, or a function of the time in s since the first start.
    """
    begin, end = span(records)
    samples = []
    for at_ns in range(begin - NS_PER_S, end + NS_PER_S, EVERY_NS):
        for source, names in figures.items():
            for name, value in names.items():
                number = value((at_ns - begin) / NS_PER_S) if callable(value) else value
                samples.append({"at_ns": at_ns, "source": source, "name": name, "value": number})
    return pa.Table.from_pylist(samples, schema=TELEMETRY)
