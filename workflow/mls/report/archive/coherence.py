"""Do config, records, environment and models belong together? Each contradiction is a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mls.config.cells import Cell, Settings, run_path, settings
from mls.config.config import Config, ModelSource
from mls.config.decisions import Runs
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Workload
from mls.core.digest import file_sha256
from mls.core.files import read_json
from mls.core.run_folder import RUN
from mls.report.pages.inputs import CONFIG, ENVIRONMENT

_SECTIONS: dict[str, type[BaseModel]] = {
    "run": Run,
    "load": Load,
    "workload": Workload,
    "server": Server,
}
_FILE_SHA256 = "file_sha256"


@dataclass
class Coherence:
    """Sentences: what contradicts itself, and what there is nothing to tell it by."""

    contradictions: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, other: Coherence, doubtful: bool = False) -> None:
        """Take over what another has. doubtful: its contradictions may be none, so they are unchecked."""
        (self.unchecked if doubtful else self.contradictions).extend(other.contradictions)
        self.unchecked += other.unchecked


def apart(one: str, other: str, why: str) -> str:
    """The sentence on two parts that don't belong together."""
    return f"{one} and {other} don't belong together: {why}."


def coherence(config: Config, results: Path, runs: Runs) -> Coherence:
    """Compare each planned repeat's `run.json` with what it names; without one it is passed over.

    results: folder with `runs`, `environment` and `models`, as in an archive.
    """
    seen = Coherence()
    described = _digest(results / ENVIRONMENT, "digest")
    without_environment = 0
    for cell, numbers in runs:
        model = f"models/{cell['model']}.json"
        model_sha256 = _digest(results / model, "sha256")
        for number in numbers:
            name = f"runs/{run_path(config, cell, number)}/{RUN}"
            if not (results / name).is_file():
                continue
            run = read_json(results / name)
            if not isinstance(run, dict):
                seen.contradictions.append(f"{name} is not JSON.")
                continue
            seen.contradictions += _of_records(results, name, run)
            seen.contradictions += _of_settings(config, cell, number, name, run)
            environment = _inner(run, "environment").get("digest")
            if environment is None or described is None:
                without_environment += 1
            elif environment != described:
                why = f"it was measured in environment {environment[:12]}, not {described[:12]}"
                seen.contradictions.append(apart(name, ENVIRONMENT, why))
            file = _inner(_inner(run, "config"), "model").get(_FILE_SHA256)
            if file and model_sha256 and file != model_sha256:
                why = f"the model's file was {file[:12]}, not {model_sha256[:12]}"
                seen.contradictions.append(apart(name, model, why))
    if without_environment:
        seen.unchecked.append(
            f"in which environment {without_environment} "
            f"repeat{'s were' if without_environment > 1 else ' was'} measured isn't recorded"
        )
    return seen


def _of_records(results: Path, name: str, run: Mapping[str, Any]) -> Iterator[str]:
    """The files beside a `run.json` that aren't those that it was made from."""
    for file, digest in sorted(_inner(run, "files").items()):
        beside = name.removesuffix(RUN) + file
        if not (results / beside).is_file():
            yield apart(beside, name, "the latter lists it, and it isn't there")
        elif file_sha256(results / beside) != digest:
            yield apart(beside, name, "its SHA-256 is not the one listed there")


def _of_settings(
    config: Config, cell: Cell, number: int, name: str, run: Mapping[str, Any]
) -> Iterator[str]:
    """The first setting that isn't what the config comes to for this repeat."""
    try:
        recorded = _recorded(run)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        yield apart(name, CONFIG, f"its settings aren't those of any config (at `{key}`)")
        return
    asked = _asked(config, settings(config, cell, number))
    for key, value in recorded.items():
        if asked[key] != value:
            where, was, wanted = _first_apart(key, value, asked[key])
            yield apart(name, CONFIG, f"{where} was {was} and the config asks for {wanted}")
            return


def _recorded(run: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in a `run.json`, as far as they are recorded. Raises `ValidationError`."""
    kept = _inner(run, "config")
    found = {key: run[key] for key in ("cell", "repeat") if key in run}
    found |= {key: kept[key] for key in ("name", "seed") if key in kept}
    for key, section in _SECTIONS.items():
        if key in kept:
            found[key] = section.model_validate(kept[key]).model_dump(mode="json")
    if "model" in kept:
        source = {key: v for key, v in _inner(kept, "model").items() if key != _FILE_SHA256}
        found["model"] = _source(ModelSource.model_validate(source))
    return found


def _asked(config: Config, given: Settings) -> dict[str, Any]:
    return {
        "cell": json.loads(json.dumps(given.cell)),
        "repeat": given.repeat,
        "name": config.name,
        "seed": given.seed,
        **{key: getattr(given, key).model_dump(mode="json") for key in _SECTIONS},
        "model": _source(given.model),
    }


def _source(model: ModelSource) -> dict[str, Any]:
    # what differs for a model is in the settings of the server
    return model.model_dump(mode="json", exclude={"server"})


def _first_apart(key: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """The first key, with dots, at which two values differ, and both values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for inner in dict.fromkeys([*one, *other]):
            if one.get(inner) != other.get(inner):
                return _first_apart(f"{key}.{inner}", one.get(inner), other.get(inner))
    return key, one, other


def _inner(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _digest(path: Path, key: str) -> str | None:
    """What a description says its digest is; None when it doesn't, or isn't there."""
    described = read_json(path)
    value = described.get(key) if isinstance(described, dict) else None
    return value if isinstance(value, str) else None
