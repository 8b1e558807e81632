"""The states of several servers as one state, and the differences between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from mls.protocol.engines.registry import PROFILES

_AVERAGED = frozenset(name for profile in PROFILES for name in profile.averaged)
_MEAN, _STEPS = "llamacpp:n_busy_slots_per_decode", "llamacpp:n_decode_total"
_SUMS = ("slots", "busy_slots")

Metrics = dict[str, float]


def pooled(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state (see `probe.snapshot`) of several: slots and counters summed, else the first's.

    A sum is null where one of the servers has no such figure.
    """
    if len(states) == 1:
        return states[0]
    pool = dict(states[0])
    for key in _SUMS:
        values = [state.get(key) for state in states]
        pool[key] = None if None in values else sum(values)
    pool["metrics"] = summed([state.get("metrics") for state in states])
    return pool


def summed(each: Sequence[Metrics | None]) -> Metrics | None:
    """The sum of several servers' `/metrics`; None when one of them has none.

    The sum holds only names that all servers have. Means, such as the share of the cache in use,
    are averaged; the one over decode steps is weighted by the steps.
    """
    present = [metrics for metrics in each if metrics]
    if len(present) < len(each):
        return None
    names = [name for name in present[0] if all(name in metrics for metrics in present)]
    total = {name: sum(metrics[name] for metrics in present) for name in names}
    for name in _AVERAGED.intersection(total):
        total[name] /= len(present)
    if _MEAN in total and total.get(_STEPS):
        total[_MEAN] = sum(m[_MEAN] * m[_STEPS] for m in present) / total[_STEPS]
    return total


def differing(states: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Properties, as servers report them, that differ between servers: name → distinct values."""
    properties = {
        "build": [state.get("build") for state in states],
        "model": [_file(state.get("model_path")) for state in states],
        "slots": [state.get("slots") for state in states],
        "context of a slot": [state.get("ctx_per_slot") for state in states],
    }
    distinct = {
        name: list(dict.fromkeys(str(v) for v in each)) for name, each in properties.items()
    }
    return {name: values for name, values in distinct.items() if len(values) > 1}


def _file(path: str | None) -> str | None:
    """The file's name, as folders may differ from host to host."""
    return PurePath(path).name if path else None
