"""Digests of a page's inputs. The page holds them itself, so its content identifies its results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

from mls.analysis.study import Study
from mls.analysis.tables import tables
from mls.config.config import Config
from mls.config.decisions import PLAN, decision_files
from mls.core.digest import data_sha256, file_sha256
from mls.core.run_folder import FAILURE, RUN

NAME = "mls-made-from"
"""Name of the page's `meta` element with the digests, as JSON."""

CONFIG = "config.json"
ENVIRONMENT = "environment/environment.json"
_TABLES = ("cells.csv", "summary.csv")
_MANY = {RUN: f"runs/…/{RUN}", FAILURE: f"runs/…/{FAILURE}"}
_DECISIONS = f"{PLAN}/…"


def config_data(config: Config) -> dict[str, Any]:
    """The config with its defaults, as JSON data, in the form that an archive has."""
    data: dict[str, Any] = json.loads(config.model_dump_json())
    return data


def input_files(study: Study, results: Path) -> list[Path]:
    """Files below `results` that a page shows or is computed from, other than raw records.

    They are the descriptions of environment, probes and models, the decisions, and each repeat's
    `run.json` or `failure.json`. A missing file is left out.
    """
    paths = [results / ENVIRONMENT]
    for model in study.config.models:
        paths += [results / "probe" / f"{model}.json", results / "models" / f"{model}.json"]
    paths += decision_files(study.config, results)
    for cell in study.cells:
        for repeat in cell.repeats:
            paths.append(repeat.folder / (FAILURE if repeat.result is None else RUN))
    return [path for path in paths if path.is_file()]


def made_from(study: Study, results: Path) -> dict[str, str]:
    """The `digests` of a study's page. An unreadable file counts as absent, as on the page."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in tables(study).items()}
    for path in input_files(study, results):
        try:
            sums[path.relative_to(results).as_posix()] = file_sha256(path)
        except OSError:
            continue
    return digests(config_data(study.config), sums)


def digests(config: Mapping[str, Any], sums: Mapping[str, str]) -> dict[str, str]:
    """Name → SHA-256 of each input of a page. All run.json have one digest together, as have all
    failure.json and all decisions.

    config: see `config_data`. sums: name → SHA-256 of files; files that are no inputs are ignored.
    """
    inputs = {CONFIG: data_sha256(config)}
    many: dict[str, dict[str, str]] = {}
    for name, digest in sums.items():
        path = PurePosixPath(name)
        if path.parts[0] == "runs" and path.name in _MANY:
            many.setdefault(_MANY[path.name], {})[name] = digest
        elif path.parts[0] == PLAN:
            many.setdefault(_DECISIONS, {})[name] = digest
        elif path.parts[0] in ("environment", "probe", "models") or name in _TABLES:
            inputs[name] = digest
    return inputs | {name: data_sha256(each) for name, each in many.items()}


def as_text(inputs: Mapping[str, str]) -> str:
    """The digests in the page's form."""
    return json.dumps(inputs, sort_keys=True)


def embedded(page: str) -> dict[str, str] | None:
    """The digests in a page; None for a page without any, as earlier versions made."""
    head = _Head()
    head.feed(page.partition("</head>")[0])
    try:
        inputs = json.loads(head.content)
    except ValueError:
        return None
    return inputs if isinstance(inputs, dict) else None


class _Head(HTMLParser):
    """Reads the content of the `meta` element with the name `NAME`."""

    def __init__(self) -> None:
        super().__init__()
        self.content = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == NAME and not self.content:
            self.content = values.get("content") or ""
