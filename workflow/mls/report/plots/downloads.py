"""Downloads of a drawing and its data, which the page carries as `data:` links."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

PAPER = {"ink": "#1a1d21", "muted": "#59636e", "line": "#dde1e6"}
"""Colours of the page itself in the light scheme."""

_SAFE = " !$()*+,/:;=@'"
"""Characters that need no escaping in a link within double quotes."""


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV text. Numbers have six digits, as no figure is more exact; None is empty."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(header)
    table.writerows([_short(value) for value in row] for row in rows)
    return out.getvalue()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def csv_link(text: str) -> Markup:
    """CSV text as a `data:` link."""
    return _link("text/csv", text)


def svg_link(svg: str, light: str) -> Markup:
    """An inline drawing as a `data:` link to a self-contained file in the light scheme.

    light: the CSS declarations of the drawings' colours, from `palette.variables`.
    """
    colors = PAPER | dict(re.findall(r"--([a-z0-9]+):(#[0-9a-f]+)", light))
    drawing = re.sub(r"var\(--([a-z0-9]+)\)", lambda match: colors[match[1]], svg)
    root = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" '
    alone = drawing.replace("<svg ", root, 1).replace("\n", " ")
    if "'" not in alone:
        alone = alone.replace('"', "'")  # need not be escaped in the link
    return _link("image/svg+xml", alone)


def _link(kind: str, text: str) -> Markup:
    """A `data:` link, safe within double quotes: characters with a meaning there are escaped."""
    return Markup(f"data:{kind};charset=utf-8,{quote(text, safe=_SAFE)}")
