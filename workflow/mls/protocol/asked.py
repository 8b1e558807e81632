"""What requests ask of the form of their replies: JSON, a schema, calls of given tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mls.config.sections.run import Run
from mls.protocol.values import dicts

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
"""Fields of llama.cpp and SGLang, and of older vLLM, that hold a schema."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The form that all requests of a run ask for."""

    json: bool = False
    """Whether a reply is to be one JSON value."""
    schema: bool = False
    """Whether that is to fit a schema."""
    shaped: bool = False
    """Whether anything limits which texts a reply may be."""
    tools: frozenset[str] | None = None
    """Names of the tools that may be called; None without tools."""
    must_call: bool = False
    """Whether each reply is to call one."""


def asked_of(run: Run) -> Asked:
    """The form that `run.request_extra` asks for, in the words of OpenAI, llama.cpp, vLLM, SGLang."""
    extra = run.request_extra
    schema = any(extra.get(name) for name in _SCHEMAS)
    as_json = schema
    form = extra.get("response_format")
    if isinstance(form, dict):
        kind = form.get("type")
        as_json = as_json or kind in ("json_object", "json_schema")
        schema = schema or kind == "json_schema" or bool(form.get("schema"))
    outputs = extra.get("structured_outputs")
    if isinstance(outputs, dict) and outputs.get("json"):
        as_json = schema = True
    tools = _tools(extra.get("tools"))
    choice = extra.get("tool_choice")
    must_call = bool(tools) and (choice == "required" or isinstance(choice, dict))
    if must_call:
        tools = _chosen(choice) or tools
    shaped = as_json or must_call or any(extra.get(name) for name in _GRAMMARS)
    return Asked(as_json, schema, shaped, tools, must_call)


def _tools(value: Any) -> frozenset[str] | None:
    functions = (tool.get("function") for tool in dicts(value))
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return frozenset(name for name in names if isinstance(name, str)) or None


def _chosen(choice: Any) -> frozenset[str] | None:
    """The one tool that a `tool_choice` names; None where it names none."""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return frozenset([name]) if isinstance(name, str) else None
