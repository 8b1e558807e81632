"""The columns of a record that say whether its reply's text is sound. No text is in them."""

from __future__ import annotations

import re
import zlib
from typing import Any

from mls.core.record import FINISHED_BY_LENGTH, TEXT_COLUMNS
from mls.load.soundness.form import Forms
from mls.load.soundness.loops import longest_loop
from mls.protocol.replies.reply import Reply

_GARBAGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd-\uffff]")
"""Characters of no text: controls but tab and line ends, the replacement character, noncharacters."""

_REPLACEMENT = "\ufffd"
_CUT_BYTES = 3
"""The most bytes of a UTF-8 character that is not complete, each of which may be replaced."""

_FAST = 1
_LEAST_ECHO = 16


def figures_of(reply: Reply, opening: str, forms: Forms) -> dict[str, Any]:
    """The columns `TEXT_COLUMNS` of a reply; all null when it failed or has no text by its nature.

    opening: the first characters of its prompt (see `Bodies.opening`).
    """
    if reply.error is not None or reply.is_numbers:
        return dict.fromkeys(TEXT_COLUMNS)
    text = reply.content.strip()
    start, period, length = longest_loop(text)
    by_length = reply.finish_reason == FINISHED_BY_LENGTH
    values = (
        len(text),
        garbage_in(text, by_length),
        compression_of(text),
        start if length else None,
        period if length else None,
        length,
        echoes(text, opening),
        *forms.of(reply),
    )
    return dict(zip(TEXT_COLUMNS, values, strict=True))


def garbage_in(text: str, by_length: bool) -> int:
    """The number of characters that no text has.

    by_length: whether the token limit ended the text. It may do so within a character, whose bytes
    the server has to replace.
    """
    count = len(_GARBAGE.findall(text))
    if count and by_length:
        at_end = len(text) - len(text.rstrip(_REPLACEMENT))
        count -= min(at_end, _CUT_BYTES)
    return count


def compression_of(text: str) -> float | None:
    """The text's bytes over its bytes when compressed by zlib, level 1; None of no text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data, _FAST)) if data else None


def echoes(text: str, opening: str) -> bool:
    """Whether a text holds the opening of its prompt, or is cut within it."""
    opening = opening.strip()
    if len(opening) < _LEAST_ECHO:
        return False
    return opening in text or (len(text) >= _LEAST_ECHO and opening.startswith(text))
