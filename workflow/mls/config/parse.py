"""Reads a config file, and explains in one sentence what is wrong with it."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mls.config.config import Config
from mls.config.sections.secrets import SECRET_INPUT, may_show
from mls.config.sections.types import EXPECTED
from mls.core.errors import UserError, nearest

_MAY_BE_SECRET = frozenset(
    [
        *("request_headers", "headers_env", "api_key_env", "request_extra", "environment"),
        *("command", "extra_args", "launcher", "agent", "package"),
    ]
)
"""Keys whose values no message shows, as a wrong one may hold a key."""


def load_config(path: Path) -> Config:
    """Read a YAML or JSON config. Raises `UserError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"Config {path} can't be read: {getattr(error, 'strerror', error)}."
        ) from None
    return parse_config(_json(path, text) if path.suffix == ".json" else _yaml(path, text))


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"Config {path} is not valid JSON: {_first_line(error)}.") from None


def _yaml(path: Path, text: str) -> Any:
    import yaml  # The workflow hands JSON to the ranks

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise UserError(f"Config {path} is not valid YAML{line}: {_first_line(error)}.") from None


def parse_config(data: Any) -> Config:
    """Validate a config's data. Raises `UserError` with the key and what is expected there."""
    if not isinstance(data, Mapping):
        raise UserError("The config is empty: expected keys such as `models`, `run` and `sweep`.")
    try:
        return Config.model_validate(dict(data))
    except ValidationError as error:
        raise UserError(explain(error, Config)) from None


def explain(error: ValidationError, kind: type[BaseModel], where: str = "") -> str:
    """The first problem of a pydantic error, as a sentence for people."""
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    # A name that can't be one may be a whole header
    place = first["loc"][:-2] if first["loc"][-1:] == ("[key]",) else first["loc"]
    path = ".".join([*([where] if where else []), *(str(part) for part in place)])
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        keys = _keys_at(kind, parents)
        return f"{path}: unknown key{nearest(str(key), keys)}; expected one of {', '.join(keys)}{more}."
    if first["type"] == "missing":
        return f"{path}: this key is missing{more}."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_pattern_mismatch":
        message = f"expected {EXPECTED[first['ctx']['pattern']]}"
    value = first["input"]
    plain = isinstance(value, str | int | float | bool) or value is None
    is_secret = first["type"] == SECRET_INPUT or not _MAY_BE_SECRET.isdisjoint(first["loc"])
    shown = plain and not is_secret and may_show(str(value))
    suffix = f", not {value!r}" if shown else ""
    return f"{path or 'config'}: {message[0].lower()}{message[1:]}{suffix}{more}."


def _keys_at(kind: type[BaseModel], parents: Iterable[Any]) -> list[str]:
    level: Any = kind
    for part in parents:
        if isinstance(level, type) and issubclass(level, BaseModel):
            level = level.model_fields[str(part)].annotation
        else:  # dict[name, Section]
            level = typing.get_args(level)[-1]
        if isinstance(level, types.UnionType):
            level = typing.get_args(level)[0]
    return list(level.model_fields)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]
