"""The files that are generated from the typed models: JSON Schemas, and the config's reference."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mls.config.config import Config, Environment, ModelSource, Mpi
from mls.config.sections.adaptive import Precision, Search
from mls.config.sections.base import Section
from mls.config.sections.checks import Checks, Slo
from mls.config.sections.load import Load, Stage
from mls.config.sections.pin import Pin
from mls.config.sections.price import Price
from mls.config.sections.replies import Replies
from mls.config.sections.run import Adapter, Cancel, Lora, Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Durations, Lengths, Workload
from mls.core.digest import PACKAGE
from mls.core.run_result import RunResult

ROOT = PACKAGE.parent.parent

_SECTIONS: list[tuple[str, type[Section]]] = [
    ("environment", Environment),
    ("mpi", Mpi),
    ("pin", Pin),
    ("models.<name>", ModelSource),
    ("server", Server),
    ("run", Run),
    ("run.cancel", Cancel),
    ("run.adapters", Adapter),
    ("run.adapters.lora", Lora),
    ("load", Load),
    ("load.stages[]", Stage),
    ("workload", Workload),
    ("workload.prompt_tokens", Lengths),
    ("workload.think_s", Durations),
    ("replies", Replies),
    ("precision", Precision),
    ("search", Search),
    ("checks", Checks),
    ("slo", Slo),
    ("price", Price),
]


def generated_files() -> list[tuple[Path, str]]:
    """(path, text) of each committed file that comes from the models."""
    schemas = ROOT / "workflow" / "schemas"
    return [
        (schemas / "config.schema.json", _schema(Config)),
        (schemas / "run.schema.json", _schema(RunResult)),
        (ROOT / "config" / "README.md", config_reference()),
    ]


def config_reference() -> str:
    """The text of `config/README.md`."""
    parts = [
        "# Every key of the config",
        "",
        "Generated from the typed models by `make schemas`; the same as a JSON Schema: "
        "[config.schema.json](../workflow/schemas/config.schema.json). "
        "An unknown key is an error that names the nearest right one.",
        "",
        "A config given with `make report CONFIG=…` or `--configfile` stands by itself: "
        "keys that it leaves out have the defaults below, not the values of `config.yaml`.",
        "",
        "## Top level",
        "",
        *_table(Config, leave_out={name.partition(".")[0] for name, _ in _SECTIONS}),
    ]
    for name, section in _SECTIONS:
        about = (section.__doc__ or "").strip()
        parts += ["", f"## `{name}`", ""]
        if section.__doc__ and about != (Section.__doc__ or "").strip():
            parts += [" ".join(about.split()), ""]
        parts += _table(section)
    return "\n".join(parts) + "\n"


def _schema(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _table(section: type[Section], leave_out: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in section.model_fields.items():
        if key not in leave_out:
            about = (field.description or "").replace("|", "\\|")
            rows.append(f"| `{key}` | {_type(field)} | {_default(field)} | {about} |")
    return rows


def _type(field: FieldInfo) -> str:
    limits = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(limit, name):,}".replace(",", "\u202f")
        for limit in field.metadata
        for name, sign in limits.items()
        if getattr(limit, name, None) is not None
    ]
    return ", ".join([_name(field.annotation), *bounds])


def _name(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_name(part) for part in arguments if part is not type(None))
    if origin is list:
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return "mapping"
    names = {int: "integer", float: "number", str: "text", bool: "true or false", object: "value"}
    return names.get(kind, "mapping")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None or isinstance(value, Section) else f"`{json.dumps(value)}`"
