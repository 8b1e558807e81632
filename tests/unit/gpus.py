"""Whether this host has a usable card, and marks for the tests that depend on it."""

from __future__ import annotations

import pytest

from mls.gpu.device import NoCardError, cupy


def why_no_card() -> str | None:
    """The reason in one sentence; None where there is a card."""
    try:
        cupy()
    except NoCardError as why:
        return str(why)
    return None


NO_CARD = why_no_card()
needs_card = pytest.mark.skipif(NO_CARD is not None, reason=f"no usable card: {NO_CARD}")
needs_none = pytest.mark.skipif(NO_CARD is None, reason="there is a usable card here")
