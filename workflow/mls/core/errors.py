"""The one exception that a user is meant to read, and a clause of its text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a missing thing that the user can put right.

    Its text is one sentence: what is wrong (with the key or the URL), what was
    expected, and what to do. Commands print it without a traceback and exit 1.
    """


def nearest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of the choices; empty when none is near."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
