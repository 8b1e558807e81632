"""The states of several servers as one, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

_MEAN, _STEPS = "llamacpp:n_busy_slots_per_decode", "llamacpp:n_decode_total"
_ADDED = ("slots", "busy_slots")

Metrics = dict[str, float]


def pooled(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state (see `probe.snapshot`) of several: slots and counters added up, the rest of the first.

    A figure that one of them doesn't tell isn't told.
    """
    if len(states) == 1:
        return states[0]
    found = dict(states[0])
    for key in _ADDED:
        values = [state.get(key) for state in states]
        found[key] = None if None in values else sum(values)
    found["metrics"] = summed([state.get("metrics") for state in states])
    return found


def summed(each: Sequence[Metrics | None]) -> Metrics | None:
    """The sum of several servers' `/metrics`; None when one of them has none.

    Only names that all have. A mean over decode steps is weighted by these.
    """
    known = [metrics for metrics in each if metrics]
    if len(known) < len(each):
        return None
    names = [name for name in known[0] if all(name in metrics for metrics in known)]
    total = {name: sum(metrics[name] for metrics in known) for name in names}
    if _MEAN in total and total.get(_STEPS):
        total[_MEAN] = sum(m[_MEAN] * m[_STEPS] for m in known) / total[_STEPS]
    return total


def differing(states: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """What servers that should be alike differ in: name → the values found. By what they say."""
    told = {
        "build": [state.get("build") for state in states],
        "model": [_file(state.get("model_path")) for state in states],
        "slots": [state.get("slots") for state in states],
        "context of a slot": [state.get("ctx_per_slot") for state in states],
    }
    found = {name: list(dict.fromkeys(str(v) for v in each)) for name, each in told.items()}
    return {name: values for name, values in found.items() if len(values) > 1}


def _file(path: str | None) -> str | None:
    """Its name: the folders may differ from host to host."""
    return PurePath(path).name if path else None
