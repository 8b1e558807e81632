"""What requests ask of the form of their replies: JSON, a schema, calls of given tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mls.config.sections.run import Run
from mls.protocol.values import dicts, loads

_GRAMMARS = (
    "grammar",
    "guided_grammar",
    "guided_regex",
    "guided_choice",
    "regex",
    "ebnf",
    "structured_outputs",
)
"""Fields by which llama.cpp, vLLM and SGLang let a reply be of few texts only."""
_SCHEMAS = ("json_schema", "guided_json")
"""Fields of llama.cpp and SGLang, and of older vLLM, that hold a schema, or its text."""

_JSON = ("json_object", "json_schema")
_MUST = ("required", "function", "any", "tool")
"""`tool_choice`, or its type, that makes a reply call a tool; a named one is a `function` or a `tool`."""

Schema = dict[str, Any] | bool
"""A JSON Schema."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The form that all requests of a run ask for."""

    json: bool = False
    """Whether a reply is to be one JSON value."""
    schema: Schema | None = None
    """What that is to fit; None where there is none that can be read."""
    shaped: bool = False
    """Whether anything limits which texts a reply may be."""
    tools: frozenset[str] | None = None
    """Names of the tools that may be called; None without tools."""
    must_call: bool = False
    """Whether each reply is to call one."""


def asked_of(run: Run) -> Asked:
    """The form that `run.request_extra` asks for, by the names of OpenAI, Anthropic and the engines."""
    extra = run.request_extra
    form, outputs = (_object(extra.get(name)) for name in ("response_format", "structured_outputs"))
    written = _object(_object(extra.get("text")).get("format"))
    schemas = [
        *(extra.get(name) for name in _SCHEMAS),
        _object(form.get("json_schema")).get("schema"),
        form.get("schema"),
        written.get("schema"),
        outputs.get("json"),
    ]
    schema = next((_schema(value) for value in schemas if value is not None), None)
    as_json = any(value is not None for value in schemas)
    as_json = as_json or any(each.get("type") in _JSON for each in (form, written))
    tools = _tools(extra.get("tools"))
    choice = extra.get("tool_choice")
    kind = choice.get("type", "function") if isinstance(choice, dict) else choice
    must_call = bool(tools) and kind in _MUST
    if must_call:
        tools = _chosen(choice) or tools
    shaped = as_json or must_call or any(extra.get(name) for name in _GRAMMARS)
    return Asked(as_json, schema, shaped, tools, must_call)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _schema(value: Any) -> Schema | None:
    """A schema that a field holds, as it is or as text; None for any other value."""
    value = loads(value.encode()) if isinstance(value, str) else value
    return value if isinstance(value, dict | bool) else None


def _tools(value: Any) -> frozenset[str] | None:
    names = (_object(tool.get("function", tool)).get("name") for tool in dicts(value))
    return frozenset(name for name in names if isinstance(name, str)) or None


def _chosen(choice: Any) -> frozenset[str] | None:
    """The one tool that a `tool_choice` names; None where it names none."""
    holder = _object(choice)
    name = _object(holder.get("function", holder)).get("name")
    return frozenset([name]) if isinstance(name, str) else None
