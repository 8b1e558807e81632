"""Whether there is a usable card here, and marks of the tests that depend on it."""

from __future__ import annotations

import pytest

from mls.gpu.device import NoCardError, cupy


def why_no_card() -> str | None:
    """The reason in one sentence; None: there is one."""
    try:
        cupy()
    except NoCardError as why:
        return str(why)
    return None


NO_CARD = why_no_card()
needs_card = pytest.mark.skipif(NO_CARD is not None, reason=f"no usable card: {NO_CARD}")
needs_none = pytest.mark.skipif(NO_CARD is None, reason="there is a usable card here")
