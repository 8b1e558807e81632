"""A server's log: its decisive line, for the sentence on why the server ended, and keys in it."""

from __future__ import annotations

import contextlib
import mmap
import re
import signal
from collections.abc import Sequence
from pathlib import Path

_TAIL = 256 * 1024
_LONGEST = 240

# The most specific pattern first. Of its lines the first counts: the others follow from it.
_PATTERNS = (
    re.compile(
        r"out of memory|failed to allocate|cannot allocate|bad_alloc|unable to allocate", re.I
    ),
    re.compile(r"couldn't bind|address already in use|HTTP server error", re.I),
    re.compile(r"error loading model|corrupted|unknown model architecture|unsupported", re.I),
    re.compile(r"(invalid|unknown|unrecognized) arguments?|error while handling argument", re.I),
    re.compile(r"GGML_ASSERT|terminate called|what\(\):|CUDA error", re.I),
    re.compile(r"^(\(.*\) )?\s*Value error, "),  # Pydantic's, below the name of the model
    # Python's, at the end of a traceback, each line of which a logger may have headed
    re.compile(r"(^|[)\]] )[\w.]*(Error|Exception): "),
    re.compile(r"^[\d.]+ E |\berror\b|\bfailed\b", re.I),
)
_PREFIX = re.compile(
    r"^[\d.]+\s+[A-Z]\s+(?:\w+\s+)?"  # llama.cpp's
    r"|^\(\w+ pid=\d+\) (?:[A-Z]+ [\d-]+ [\d:]+ \[[\w.]+:\d+\]\s+)?"  # vLLM's
)


def hide(log: Path, secrets: Sequence[str]) -> None:
    """Overwrite secrets in a log to which nothing is written any more. Never raises."""
    # ValueError: an empty file
    with (
        contextlib.suppress(OSError, ValueError),
        log.open("r+b") as stream,
        mmap.mmap(stream.fileno(), 0) as text,
    ):
        for secret in (each.encode() for each in secrets):
            while (at := text.find(secret)) >= 0:
                text[at : at + len(secret)] = b"*" * len(secret)


def decisive_line(log: Path, secrets: Sequence[str] = ()) -> str | None:
    """The line that says most about the failure, without secrets; None when none says anything."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            text = stream.read().decode(errors="replace")
    except OSError:
        return None
    for secret in secrets:
        text = text.replace(secret, "***")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in _PATTERNS:
        for line in lines:
            if pattern.search(line):
                return _short(line)
    return None


def how_it_ended(status: int) -> str:
    """A child's return code in words."""
    if status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL:
        return f"was killed ({name}: out of memory is the usual reason)"
    return f"crashed ({name})" if -status in _CRASHES else f"was ended ({name})"


_CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)


def _short(line: str) -> str:
    words = " ".join(_PREFIX.sub("", line).split()).rstrip(".")
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
