"""Text that a terminal or the locale can't take: foreign texts, output, names of files."""

from __future__ import annotations

import io
import sys
import unicodedata
from pathlib import Path

from mls.core.errors import UserError


def one_line(text: str) -> str:
    """The text on one line, without characters that are commands to a terminal or not to be seen.

    For texts that a server may have written.
    """
    visible = (c for c in " ".join(text.split()) if unicodedata.category(c) != "Cf")
    return "".join(c if c.isprintable() else "�" for c in visible)


def take_any_text() -> None:
    """Have stdout and stderr write `\\u2026` for a character that can't be encoded."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_name(path: Path) -> None:
    """Raise `UserError` for a path that can't be encoded as UTF-8, which libraries require."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(unencodable(error)) from None


def unencodable(error: UnicodeEncodeError) -> str:
    """The sentence about a file's name that can't be encoded."""
    return (
        f"{error.object!r}: a name with characters beyond {sys.getfilesystemencoding()}, the "
        "encoding of this locale, can't be used; set PYTHONUTF8=1, or LC_ALL to a UTF-8 locale."
    )
