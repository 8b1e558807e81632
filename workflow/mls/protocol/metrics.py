"""A server's `/metrics` in Prometheus' text format, as one figure a name."""

from __future__ import annotations

import math
import re
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from mls.protocol.engines.registry import PROFILES

_KNOWN = tuple(profile.prefix for profile in PROFILES)
_AVERAGED = frozenset(name for profile in PROFILES for name in profile.averaged)
_NO_FIGURE = re.compile(r"\w+(_bucket|_created|_info)\b")
_LABELS = [label for profile in PROFILES for label in profile.cache_block]
_LABELLED = tuple(sample for sample, _ in _LABELS)
_MODEL_LABELS = ("model_name", "model")


def read_metrics(text: str, model: str | None = None) -> dict[str, float]:
    """Name → figure, of the finite samples of engines that have a profile.

    A name with several sets of labels (models, engines, API processes) has their sum, or their mean
    where a sum says nothing. A label that is a figure itself (`Profile.cache_block`) is `NAME.LABEL`.
    model: where labels name it, only its samples count. Buckets are left out. Each line is parsed by
    itself: one that can't be costs no other, and a page of thousands of lines costs as much as those
    that are of use.
    """
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for line in text.splitlines():
        figure = line.startswith(_KNOWN) and not _NO_FIGURE.match(line.replace(":", "_", 1))
        if not figure and not line.startswith(_LABELLED):
            continue
        try:
            samples = [s for family in text_string_to_metric_families(line) for s in family.samples]
        except (ValueError, IndexError):
            continue
        for sample in samples if figure else _of_labels(samples):
            if math.isfinite(sample.value):
                by_name[sample.name].append(sample)
    return {name: _figure(name, _of_model(samples, model)) for name, samples in by_name.items()}


def _of_labels(samples: list[Sample]) -> list[Sample]:
    """One for each label that is a figure, of those that are whole numbers."""
    return [
        Sample(f"{name}.{label}", sample.labels, float(text))
        for sample in samples
        for name, label in _LABELS
        if sample.name == name and (text := sample.labels.get(label, "")).isdecimal()
    ]


def _of_model(samples: list[Sample], model: str | None) -> list[Sample]:
    """Those whose labels name the model; all where none does."""
    named = [s for s in samples if model in (s.labels.get(label) for label in _MODEL_LABELS)]
    return named if model and named else samples


def _figure(name: str, samples: list[Sample]) -> float:
    total = sum(sample.value for sample in samples)
    return total / len(samples) if name in _AVERAGED else total
