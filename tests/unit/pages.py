"""Pages of results, as text and as a parsed tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mls.config.config import Config
from mls.report.pages.page import render


class Page(HTMLParser):
    """Tags, attributes and text of a page; raises `AssertionError` at tags that don't match.

    scripts: (type, content) of each `script` element, which are in neither tags nor text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str | None] = []
        self.text: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            assert all(name == "type" for name, _ in attrs), attrs
            self.scripts.append((dict(attrs).get("type"), ""))
            self._open.append(tag)
            return
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "link", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            kind, content = self.scripts[-1]
            self.scripts[-1] = kind, content + data
        else:
            self.text.append(data)


@contextmanager
def undrawn() -> Iterator[None]:
    """A context in which figures are made and stay blank: drawing them is most of a page's time."""

    def blank(figure: Figure, output: IO[str], **_: Any) -> None:
        output.write("<defs></defs></svg>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", blank)
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
        yield


def page(sweep: Config, results: Path) -> str:
    """Write `results/report.html` anew; returns its HTML."""
    output = results / "report.html"
    render(sweep, results, output)
    return output.read_text()


def text_page(sweep: Config, results: Path) -> str:
    """The same with blank drawings, for what a page says."""
    with undrawn():
        return page(sweep, results)


def captions(html: str) -> dict[str, str]:
    """Title of a drawing → its note."""
    return dict(re.findall(r"<figcaption><b>(.*?)</b>(.*?)</figcaption>", html))


def headings(html: str) -> list[str]:
    """Headings of the figures in the table of cells."""
    body = html[html.index('id="cells"') : html.index('id="checks"')]
    return re.findall(r'<th scope="col">([^<]*)', body)
