"""The differences between two sets of results beside their figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mls.analysis.study import Study
from mls.core.files import read_json

_ENVIRONMENT = ("python", "mpi", "engine", "host", "gpu", "packages")
_NOT_SETTINGS = {"python.executable", "host.name"}
MOST = 200


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same. `base` and `new` are texts, empty where it isn't recorded."""

    what: str
    base: str
    new: str


def differences(base: Study, base_results: Path, new: Study, new_results: Path) -> list[Difference]:
    """Differences in server build, model file, text, settings and environment, at most `MOST`.

    Settings are those of all cells. An axis that varies in a sweep is no difference.
    """
    before = _facts(base, base_results)
    after = _facts(new, new_results)
    axes = {*base.varying, *new.varying}
    names = [name for name in {**before, **after} if name.rpartition(".")[2] not in axes]
    return [
        Difference(name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    ][:MOST]


def _facts(study: Study, results: Path) -> dict[str, str]:
    """Name → its value, or all its values when cells differ."""
    values_by_name: dict[str, dict[str, None]] = {}
    for cell in study.cells:
        for repeat in cell.ok:
            if repeat.result is None:
                continue
            state = repeat.result.server.get("before") or {}
            entries = {
                "server": {key: state.get(key) for key in ("build", "slots", "ctx_per_slot")},
                "model": {str(cell.cell["model"]): repeat.result.config.get("model")},
                "workload": {"corpus": repeat.result.workload.get("corpus")},
                "settings": {key: repeat.result.config.get(key) for key in ("run", "server")},
            }
            for name, value in _leaves(entries):
                values_by_name.setdefault(name, {})[value] = None
    facts = {name: ", ".join(values) for name, values in values_by_name.items()}
    environment = read_json(results / "environment" / "environment.json")
    if isinstance(environment, dict):
        parts = {key: environment.get(key) for key in _ENVIRONMENT}
        facts |= {name: value for name, value in _leaves(parts) if name not in _NOT_SETTINGS}
    return facts


def _leaves(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Leaves of nested mappings as (`a.b`, text), without the hashes of packages."""
    if not isinstance(value, dict):
        return [(prefix, "" if value is None else str(value))]
    return [
        leaf
        for key, inner in value.items()
        if not (prefix.startswith("packages") and key != "version" and not isinstance(inner, dict))
        for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    ]
