"""What a page is made from, by digest: the page says so itself, so its content tells whose page it is."""

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
"""Of the page's `meta` element that holds the digests, as JSON."""

CONFIG = "config.json"
ENVIRONMENT = "environment/environment.json"
_TABLES = ("cells.csv", "summary.csv")
_MANY = {RUN: f"runs/…/{RUN}", FAILURE: f"runs/…/{FAILURE}"}
_DECISIONS = f"{PLAN}/…"


def config_data(config: Config) -> dict[str, Any]:
    """The config with its defaults, as JSON data: what an archive keeps of it."""
    data: dict[str, Any] = json.loads(config.model_dump_json())
    return data


def input_files(study: Study, results: Path) -> list[Path]:
    """Files below `results` that a page shows or is computed from, other than raw records.

    They are the descriptions of environment, probes and models, the decisions, and of each repeat
    its `run.json`, or the reason why it has none. A file that isn't there is left out.
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
    """`digests` of the page of a study. An unreadable file counts as absent, as it does on the page."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in tables(study).items()}
    for path in input_files(study, results):
        try:
            sums[path.relative_to(results).as_posix()] = file_sha256(path)
        except OSError:
            continue
    return digests(config_data(study.config), sums)


def digests(config: Mapping[str, Any], sums: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each input of a page by its name; what there are many of is one digest together.

    config: as `config_data` gives it. sums: SHA-256 of files by name; those of no concern are
    passed over.
    """
    made = {CONFIG: data_sha256(config)}
    many: dict[str, dict[str, str]] = {}
    for name, digest in sums.items():
        path = PurePosixPath(name)
        if path.parts[0] == "runs" and path.name in _MANY:
            many.setdefault(_MANY[path.name], {})[name] = digest
        elif path.parts[0] == PLAN:
            many.setdefault(_DECISIONS, {})[name] = digest
        elif path.parts[0] in ("environment", "probe", "models") or name in _TABLES:
            made[name] = digest
    return made | {name: data_sha256(each) for name, each in many.items()}


def as_text(made: Mapping[str, str]) -> str:
    """As the page holds them."""
    return json.dumps(made, sort_keys=True)


def embedded(page: str) -> dict[str, str] | None:
    """The digests that a page holds; None for one that holds none, as of earlier versions."""
    head = _Head()
    head.feed(page.partition("</head>")[0])
    try:
        made = json.loads(head.content)
    except ValueError:
        return None
    return made if isinstance(made, dict) else None


class _Head(HTMLParser):
    """Reads the content of the `meta` element by the name of `NAME`."""

    def __init__(self) -> None:
        super().__init__()
        self.content = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == NAME and not self.content:
            self.content = values.get("content") or ""
