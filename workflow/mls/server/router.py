"""llama.cpp's router: one server that starts others, each for one model, when it is first asked."""

from __future__ import annotations

import time

from mls.config.sections.run import Run
from mls.protocol.prompts import prompt
from mls.protocol.request import sample_body
from mls.server.api import ServerApi
from mls.server.model_list import entry_of

_ROLE = "router"
_SEED, _WORDS = 0, 4


def enter(api: ServerApi, run: Run, served_as: str | None) -> float | None:
    """Have a router load the model, and ask for that model's state from now on.

    The result is the time in s that loading took, with a completion of one token; None where the
    model was loaded, or the server is no router. So the time is in no figure of a run. Raises
    `UserError` as `ServerApi.complete` does.
    """
    props = api.props()
    if served_as is None or props is None or props.get("role") != _ROLE:
        return None
    entry = entry_of(served_as, api.models() or [])
    load_s = None
    if entry is None or not entry.loaded:
        short = run.model_copy(update={"max_tokens": 1})
        begin = time.monotonic()
        body = sample_body(short, served_as, prompt(_SEED, 0, _WORDS), salted=False)
        api.complete(run.endpoint, body, run.timeout_s)
        load_s = time.monotonic() - begin
    api.route(served_as)
    return load_s
