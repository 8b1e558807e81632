"""Recorded facts of any shape (JSON) as nodes that the template can lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

LONG_TEXT = 160
MOST_TEXT = 4000
MANY = 8


@dataclass(frozen=True)
class Node:
    """A part of the page: `text` of the kinds text and long, `items` of pairs, or a table's `rows`.

    folded: whether the reader has to open it, as it is long.
    """

    kind: Literal["text", "long", "pairs", "table"]
    text: str = ""
    items: tuple[tuple[str, Node], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    folded: bool = False


def node(value: Any) -> Node:
    """JSON data as a node: flat records with the same keys become a table, other data pairs."""
    if isinstance(value, dict) and value:
        table = _table(
            [{"": key, **_fields(inner)} for key, inner in value.items()], value.values()
        )
        return table or Node(
            "pairs",
            items=tuple((str(k), node(v)) for k, v in value.items()),
            folded=len(value) > MANY,
        )
    if isinstance(value, list) and value:
        if not any(isinstance(item, dict | list) for item in value):
            return _text(", ".join(_plain(item) for item in value))
        table = _table([_fields(item) for item in value], value)
        return table or Node(
            "pairs",
            items=tuple((str(i), node(v)) for i, v in enumerate(value)),
            folded=len(value) > MANY,
        )
    return _text(_plain(value))


def _table(rows: list[dict[str, Any]], values: Any) -> Node | None:
    """A table of several flat mappings with at most `MANY` keys together; None for other values."""
    values = list(values)
    flat = all(
        isinstance(value, dict)
        and value
        and not any(isinstance(inner, dict | list) for inner in value.values())
        for value in values
    )
    if len(values) < 2 or not flat:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if len(columns) > MANY:
        return None
    cells = tuple(
        tuple(_plain(row[c])[:MOST_TEXT] if c in row else "" for c in columns) for row in rows
    )
    return Node("table", columns=tuple(columns), rows=cells, folded=len(rows) > MANY)


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(text: str) -> Node:
    if len(text) <= LONG_TEXT and "\n" not in text:
        return Node("text", text=text)
    excerpt = f"{text[:MOST_TEXT]} … ({len(text)} characters)" if len(text) > MOST_TEXT else text
    return Node("long", text=excerpt, folded=True)


def _plain(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
