"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a missing thing that the user can put right.

    Its text is one sentence: what is wrong (with the key or the URL), what was
    expected, and what to do. Commands print it without a traceback and exit 1.
    """
