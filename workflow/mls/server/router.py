"""llama.cpp's router: one server that starts others, each for one model, when it is first asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mls.config.sections.run import Run
from mls.protocol.body import sample_body
from mls.protocol.prompts import prompt
from mls.server.api import BodyRefusedError, ServerApi
from mls.server.http.session import RefusedError
from mls.server.model_list import entry_of

_ROLE = "router"
_SEED, _WORDS = 0, 4
_NOT_LOADED = "not loaded"


def enter(apis: Sequence[ServerApi], run: Run, served_as: str | None) -> float | None:
    """Have each router load the model, and ask for that model's state from now on.

    The result is the time in s that loading took, one router after another, each with a completion
    of one token; None where the model was loaded everywhere, or no server is a router. So the time
    is in no figure of a run. Raises `UserError` as `ServerApi.complete` does, and when a router
    doesn't load models by itself.
    """
    times = [enter_one(api, api.props(), run, served_as) for api in apis] if served_as else []
    loads = [load_s for load_s in times if load_s is not None]
    return sum(loads) if loads else None


def enter_one(
    api: ServerApi, props: dict[str, Any] | None, run: Run, served_as: str | None
) -> float | None:
    """`enter` of one server, whose `/props` were asked for already."""
    if not served_as or not is_router(props):
        return None
    entry = entry_of(served_as, api.models() or [])
    load_s = None
    if entry is None or not entry.loaded:
        begin = time.monotonic()
        by_itself = props is not None and props.get("models_autoload") is not False
        _load(api, run, served_as, by_itself=by_itself)
        load_s = time.monotonic() - begin
    api.route(served_as)
    return load_s


def follow(api: ServerApi, model: str) -> bool:
    """Whether the server is a router, whose state is from now on asked for that model."""
    if not is_router(api.props()):
        return False
    api.route(model)
    return True


def is_router(props: dict[str, Any] | None) -> bool:
    """Whether `/props` are a router's."""
    return props is not None and props.get("role") == _ROLE


def _load(api: ServerApi, run: Run, served_as: str, *, by_itself: bool) -> None:
    short = run.model_copy(update={"max_tokens": 1})
    body = sample_body(short, served_as, prompt(_SEED, 0, _WORDS), salted=False)
    try:
        api.complete(run.endpoint, body, run.timeout_s)
    except BodyRefusedError as error:
        if by_itself or _NOT_LOADED not in error.words:
            raise
        raise RefusedError(
            f"The router {api.url} has not loaded {served_as!r} and doesn't load models by itself "
            "(--no-models-autoload): load it (POST /models/load), or start the router without that."
        ) from None
