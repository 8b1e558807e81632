"""Real prose and real code without a download: documentation and sources of this Python.

Both are under the licence of the Python Software Foundation.
"""

from __future__ import annotations

import ast
import importlib.util
import platform
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path

from mls.core.digest import data_sha256, file_sha256
from mls.core.errors import UserError
from mls.core.files import read_json, write_json
from mls.load.workload.text.tasks import Kind

PARAGRAPHS, FUNCTIONS = "\n\n", "\n\n\n"
"""What stands between two paragraphs of the prose, and between two functions of the code."""

_MODULES = (
    *("argparse", "asyncio.streams", "calendar", "collections", "csv", "dataclasses", "difflib"),
    *("email.message", "enum", "fractions", "functools", "heapq", "http.client", "ipaddress"),
    *("logging", "pprint", "random", "shutil", "statistics", "subprocess", "tempfile", "textwrap"),
    *("threading", "traceback", "urllib.parse", "zipfile"),
)
"""Modules of everyday code: no tables, no tests, nothing generated."""

_LEAST_WORDS = 12
_LEAST_LINES = 4
_MOST_LINES = 120
_TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "…": "...", "–": "-", "—": "-"}
)
_MARKUP = re.compile(r"(?<!\w)(\*\*?|``?)(?=\S)([^*`]+?)(?<=\S)\1(?!\w)")
_ROLE = re.compile(r":(?:\w+:)?\w+:`~?!?([^`<]+?)(?: <[^`>]*>)?`")
_BROKEN_WORD = re.compile(r"(?<=\w-) (?=\w)")  # at the end of a line
_NO_PROSE = re.compile(r"^(?:>>>|[*=~^#+-]{3,}|[-*] |\.\. |:\w+ |@)|::=|[|\\{}]|\s{3,}\S+\s{3,}")


@dataclass(frozen=True)
class Corpus:
    """Paragraphs of running text, and functions; ASCII alone, and none of them twice."""

    prose: str
    code: str

    @property
    def texts(self) -> dict[Kind, str]:
        return {"prose": self.prose, "code": self.code}

    @cached_property
    def sha256(self) -> str:
        return data_sha256([self.prose, self.code])

    @property
    def facts(self) -> dict[str, str]:
        """What `run.json` says of it."""
        return {"sha256": self.sha256, "python": platform.python_version()}


def read_corpus(folder: Path | None = None) -> Corpus:
    """The corpus of this interpreter. Raises `UserError` where it has no documentation or sources.

    folder: keeps it for the repeats that follow, as reading it out takes most of a second of CPU.
    """
    topics, sources = _topics(), list(_sources())
    if not topics or not sources:
        missing = "pydoc_data.topics" if not topics else "sources of its standard library"
        raise UserError(
            f"workload.kind: text is cut out of Python's own documentation and sources, and the run "
            f"environment's Python {platform.python_version()} has no {missing}; install them (on "
            "Debian and Ubuntu the packages libpython3-stdlib and python3), or set workload.kind to "
            "dataset."
        )
    if folder is None:
        return _read(topics, sources)
    # all that it depends on: the texts, the parser, and what is read out of them
    origin = [topics, sources, platform.python_version(), file_sha256(Path(__file__))]
    path = folder / f"corpus-{data_sha256(origin)[:32]}.json"
    corpus = _kept(path)
    if corpus is None:
        corpus = _read(topics, sources)
        write_json(path, {"sha256": corpus.sha256, "prose": corpus.prose, "code": corpus.code})
    return corpus


def _kept(path: Path) -> Corpus | None:
    """The corpus in a file; None where there is none, or it is not as it was written."""
    match read_json(path):
        case {"sha256": sha256, "prose": str(prose), "code": str(code)}:
            corpus = Corpus(prose, code)
            return corpus if corpus.sha256 == sha256 else None
    return None


def _read(topics: list[str], sources: list[str]) -> Corpus:
    trees = [(source.splitlines(), ast.parse(source)) for source in sources]
    texts = [*topics, *(text for _, tree in trees for text in _docstrings(tree))]
    prose = _distinct(paragraph for text in texts for paragraph in paragraphs(text))
    code = _distinct(function for lines, tree in trees for function in _functions(lines, tree))
    return Corpus(PARAGRAPHS.join(prose), FUNCTIONS.join(code))


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of running text in a documentation text, each on one line, without markup."""
    for block in re.split(r"\n\s*\n", textwrap.dedent(text).translate(_TYPOGRAPHY)):
        lines = textwrap.dedent(block).strip().split("\n")
        if any(line[:1].isspace() or _NO_PROSE.search(line) for line in lines):
            continue  # a list, a heading, a grammar, an example
        running = _BROKEN_WORD.sub("", " ".join(" ".join(lines).split()))
        paragraph = _MARKUP.sub(r"\2", _ROLE.sub(r"\1", running))
        is_sentence = paragraph[:1].isupper() and paragraph[-1:] in (".", ":")
        if is_sentence and len(paragraph.split()) >= _LEAST_WORDS and paragraph.isascii():
            yield paragraph


def _topics() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return []
    return [topics[name] for name in sorted(topics)]


def _sources() -> Iterator[str]:
    for name in _MODULES:
        try:
            spec = importlib.util.find_spec(name)
        except ImportError:  # of its package
            continue
        if spec and isinstance(spec.loader, SourceFileLoader):
            try:
                source = spec.loader.get_source(name)
            except ImportError:
                continue
            if source:
                yield source


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _functions(lines: list[str], scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Functions and methods of ordinary length, from `def` on, as if they stood by themselves."""
    for node in scope.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(lines, node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        own = lines[node.lineno - 1 : node.end_lineno]
        function = textwrap.dedent("\n".join(line.rstrip() for line in own))
        is_plain = function.isascii() and "\t" not in function and FUNCTIONS not in function
        if is_plain and _LEAST_LINES <= len(own) <= _MOST_LINES:
            yield function


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
