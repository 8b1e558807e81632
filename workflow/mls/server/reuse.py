"""A server's process that has had other repeats before: what keeps a repeat apart from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.protocol.body import salts
from mls.protocol.engines.llama_cpp import LLAMA_CPP
from mls.protocol.engines.registry import by_name
from mls.server.api import BodyRefusedError, ServerApi
from mls.server.fields import try_fields
from mls.server.state import settled

CacheBetween = Literal["reset", "off", "salted", "other prompts"]
"""Why a repeat finds no prompt of an earlier one in the cache. `reset`: the cache was emptied.
`off`: it was not used. `salted`: the requests have a `cache_salt` that no earlier ones had.
`other prompts`: the seed makes all of them anew."""

_REST_S = 60


def keep_apart(
    apis: Sequence[ServerApi], run: Run, workload: Workload, served_as: str | None, run_id: str
) -> tuple[CacheBetween, Run]:
    """Wait until the servers rest, and keep the cache of earlier repeats out of this one.

    run: without the fields that the server refuses. Returns how that was done, and the run with
    what its requests need for it. Raises `UserError` where there is no way.
    """
    states = [settled(api, served_as, _REST_S) for api in apis]
    profile = by_name(states[0]["engine"])
    if (path := profile.resets_cache) and all(api.resets(path) for api in apis):
        return "reset", run
    if profile is LLAMA_CPP:
        if not run.cache_prompt:
            return "off", run
    elif salts(run):
        return "salted", run
    elif (
        run.cache_prompt
        and (run.chats or run.api == "text")
        and "cache_salt" not in run.request_extra
    ):
        # One salt for the whole repeat: within it, prompts may share the cache
        salt = {"cache_salt": run_id}
        candidate = run.model_copy(update={"request_extra": run.request_extra | salt})
        try:
            try_fields(apis[0], candidate, served_as)
            return "salted", candidate
        except BodyRefusedError:
            pass
    # prompts of a file are the same in each repeat, but for blocks, whose words are the seed's
    if workload.file is None or workload.kind == "blocks":
        return "other prompts", run
    raise UserError(
        f"server.reuse: cell: prompts of workload.kind {workload.kind} are the same in each repeat, and "
        "this server's cache can be neither emptied nor kept apart; use reuse: repeat."
    )
