"""A server's `/metrics` in Prometheus' text format."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families


def parse_metrics(text: str) -> dict[str, float]:
    """Name → value of each finite sample without labels.

    Each line is parsed by itself: a line that can't be parsed costs no other line.
    """
    values = {}
    for line in text.splitlines():
        try:
            samples = [s for family in text_string_to_metric_families(line) for s in family.samples]
        except (ValueError, IndexError):
            continue
        for sample in samples:
            if not sample.labels and math.isfinite(sample.value):
                values[sample.name] = sample.value
    return values
