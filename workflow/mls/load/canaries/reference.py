"""The canaries alone, one after another, before the load: the reference of those in it."""

from __future__ import annotations

import time
import uuid

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.load.canaries.difference import difference, reference_of
from mls.load.canaries.known import References
from mls.load.canaries.plan import CanaryPlan
from mls.load.canaries.requests import canary_body
from mls.load.workload.builder import Prompt
from mls.protocol.engines.vllm import VLLM
from mls.protocol.replies.reply import Reply
from mls.server.api import ServerApi
from mls.server.state import state_or_error

MOST_TOKENS = 64
"""The most tokens of a canary's reply that are asked for alone, and so are compared."""

_FROM_CACHE = 0.5
"""Share of a prompt from which on it is taken to have been answered from a cache."""


class NoReferenceError(Exception):
    """There is no reference, and so there are no canaries in the load; the message says why."""


def ask(
    api: ServerApi, plan: CanaryPlan, run: Run, served_as: str | None, salted: bool
) -> References:
    """Ask each canary twice. Raises `NoReferenceError`.

    The second asking may end by itself where the load goes on after the end of a text
    (`run.ignore_eos`): what comes after it is not compared.
    """
    begin = time.monotonic()
    never_cached = salted and state_or_error(api, served_as, settle=False)["engine"] == VLLM.name
    first: list[Reply] = []
    second: list[Reply] = []
    for replies, free in ((first, False), (second, True)):
        for prompt in plan.prompts:
            reply = _reply(api, prompt, run, served_as, salted, free)
            _check_cache(reply, never_cached)
            replies.append(reply)
    each, again = [], []
    for prompt, one, other in zip(plan.prompts, first, second, strict=True):
        reference = reference_of(one, prompt.sha256, ends=not run.goes_on)
        end = reference_of(other, "", ends=True)
        if run.goes_on and end.ends:
            reference = reference.upto(len(end.text))
        each.append(reference)
        again.append(difference(reference, (), other))
    counts = [reply.completion_tokens for reply in (*first, *second)]
    tokens = None if None in counts else sum(count or 0 for count in counts)
    wall_s = time.monotonic() - begin
    return References(tuple(each), tuple(again), len(counts), tokens, wall_s)


def _reply(
    api: ServerApi,
    prompt: Prompt,
    run: Run,
    served_as: str | None,
    salted: bool,
    free: bool,
) -> Reply:
    body = canary_body(run, served_as, prompt, most_tokens=MOST_TOKENS, free=free)
    if salted:
        body["cache_salt"] = str(uuid.uuid4())
    try:
        return api.complete(run.endpoint, body, run.timeout_s)
    except UserError as error:
        raise NoReferenceError(f"the server did not answer them alone. {error}") from None


def _check_cache(reply: Reply, never_cached: bool) -> None:
    """Raise `NoReferenceError` where the load's canaries may be answered from a cache.

    Their TTFT would be no request's that comes for the first time. never_cached: whether that is
    known without the reply's word.
    """
    if reply.cached_tokens is not None and reply.prompt_tokens:
        if reply.cached_tokens > _FROM_CACHE * reply.prompt_tokens:
            raise NoReferenceError("the server answers what it was asked before from its cache.")
    elif not never_cached:
        raise NoReferenceError(
            "the server doesn't say how much of a prompt it takes from a cache, from which it may "
            "answer what it was asked before."
        )
