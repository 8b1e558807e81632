"""The check that config, records, environment and models belong together, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mls.config.axes import Cell
from mls.config.cells import run_path
from mls.config.config import Config, ModelSource
from mls.config.decisions import Runs
from mls.config.sections.load import Load, recorded
from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Workload
from mls.config.settings import Settings, settings
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
    """Sentences: the contradictions, and the points that could not be checked."""

    contradictions: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def add(self, other: Coherence, doubtful: bool = False) -> None:
        """Add another's sentences. doubtful: whether its contradictions count as unchecked only."""
        (self.unchecked if doubtful else self.contradictions).extend(other.contradictions)
        self.unchecked += other.unchecked


def apart(one: str, other: str, why: str) -> str:
    """The sentence on two parts that contradict each other."""
    return f"{one} and {other} don't belong together: {why}."


def coherence(config: Config, results: Path, runs: Runs) -> Coherence:
    """Compare each planned repeat's `run.json` with the files and settings that it names.

    Repeats without a `run.json` are passed over. results: folder with `runs`, `environment` and
    `models`, as in an archive.
    """
    findings = Coherence()
    environment_digest = _digest(results / ENVIRONMENT, "digest")
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
                findings.contradictions.append(f"{name} is not JSON.")
                continue
            findings.contradictions += _of_records(results, name, run)
            findings.contradictions += _of_settings(config, cell, number, name, run)
            environment = _inner(run, "environment").get("digest")
            if environment is None or environment_digest is None:
                without_environment += 1
            elif environment != environment_digest:
                why = f"it was measured in environment {environment[:12]}, not {environment_digest[:12]}"
                findings.contradictions.append(apart(name, ENVIRONMENT, why))
            file = _inner(_inner(run, "config"), "model").get(_FILE_SHA256)
            if file and model_sha256 and file != model_sha256:
                why = f"the model's file was {file[:12]}, not {model_sha256[:12]}"
                findings.contradictions.append(apart(name, model, why))
    if without_environment:
        findings.unchecked.append(
            f"in which environment {without_environment} "
            f"repeat{'s were' if without_environment > 1 else ' was'} measured isn't recorded"
        )
    return findings


def _of_records(results: Path, name: str, run: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on the files beside a `run.json` whose SHA-256 isn't the one that it lists."""
    for file, digest in sorted(_inner(run, "files").items()):
        beside = name.removesuffix(RUN) + file
        if not (results / beside).is_file():
            yield apart(beside, name, "the latter lists it, and it isn't there")
        elif file_sha256(results / beside) != digest:
            yield apart(beside, name, "its SHA-256 is not the one listed there")


def _of_settings(
    config: Config, cell: Cell, number: int, name: str, run: Mapping[str, Any]
) -> Iterator[str]:
    """A sentence on the first setting that differs from the config's for this repeat, if any."""
    try:
        settings_of_run = _settings_of_run(run)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        yield apart(name, CONFIG, f"its settings aren't those of any config (at `{key}`)")
        return
    settings_of_config = _settings_of_config(config, settings(config, cell, number))
    for key, value in settings_of_run.items():
        if settings_of_config[key] != value:
            where, actual, expected = _first_apart(key, value, settings_of_config[key])
            yield apart(name, CONFIG, f"{where} was {actual} and the config asks for {expected}")
            return


def _settings_of_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a `run.json` has. Raises `ValidationError`."""
    config = _inner(run, "config")
    values = {key: run[key] for key in ("cell", "repeat") if key in run}
    values |= {key: config[key] for key in ("name", "seed") if key in config}
    for key, section in _SECTIONS.items():
        if key in config:
            values[key] = section.model_validate(
                recorded(config[key]) if key == "load" else config[key]
            ).model_dump(mode="json")
    if "model" in config:
        source = {key: v for key, v in _inner(config, "model").items() if key != _FILE_SHA256}
        values["model"] = _source(ModelSource.model_validate(source))
    return values


def _settings_of_config(config: Config, repeat_settings: Settings) -> dict[str, Any]:
    return {
        "cell": json.loads(json.dumps(repeat_settings.cell)),
        "repeat": repeat_settings.repeat,
        "name": config.name,
        "seed": repeat_settings.seed,
        **{key: getattr(repeat_settings, key).model_dump(mode="json") for key in _SECTIONS},
        "model": _source(repeat_settings.model),
    }


def _source(model: ModelSource) -> dict[str, Any]:
    # The server's settings include those of the model
    return model.model_dump(mode="json", exclude={"server"})


def _first_apart(key: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """(first key at which two values differ, with dots; both values there)."""
    if isinstance(one, dict) and isinstance(other, dict):
        for inner in dict.fromkeys([*one, *other]):
            if one.get(inner) != other.get(inner):
                return _first_apart(f"{key}.{inner}", one.get(inner), other.get(inner))
    return key, one, other


def _inner(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _digest(path: Path, key: str) -> str | None:
    """The digest in a description; None without one, or without a description."""
    description = read_json(path)
    value = description.get(key) if isinstance(description, dict) else None
    return value if isinstance(value, str) else None
