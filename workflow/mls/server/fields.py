"""The optional fields of a request: those that a server refuses, and those that make it say more."""

from __future__ import annotations

import re

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.body import OPTIONAL, body_fields, counting, sample_body, without
from mls.protocol.prompts import prompt
from mls.protocol.replies.reply import MOST_A_CHUNK, Reply
from mls.server.api import BodyRefusedError, ServerApi

_SEED, _WORDS = 0, 4
SAMPLE_TOKENS = 16
"""Tokens of a reply that shows how many a chunk has."""


def refused_fields(api: ServerApi, run: Run, served_as: str | None) -> tuple[str, ...]:
    """Optional fields that the server refuses, determined by completions of one token.

    One completion is enough where the server takes all fields. Otherwise the server's message names
    those that it refuses; where it names none, each field is tried by itself. Fields of the user's
    `run.request_extra` stay in. Raises `UserError` as `ServerApi.complete` does, also when the
    server refuses for another reason.
    """
    names: tuple[str, ...] = ()
    while True:
        try:
            try_fields(api, without(run, names), served_as)
            return names
        except BodyRefusedError as error:
            rest = [name for name in _removable(run, served_as) if name not in names]
            matches = tuple(name for name in rest if re.search(rf"\b{name}\b", error.words))
            if not matches:
                return _one_by_one(api, run, served_as, names, rest)
            names += matches


def with_counts(
    api: ServerApi, run: Run, served_as: str | None, sample: Reply | None = None
) -> Run:
    """The run, its requests asking for a count of tokens in each chunk where TPOT hinges on that.

    That is where the chunks of a single request hold several tokens, as with speculative decoding,
    and the server counts them when asked. Others aren't asked: their chunks would be longer for
    nothing, at the cost of a front end that may have too much to do as it is. sample: the server's
    reply to such a request, where the caller has it. Raises `UserError` as `ServerApi.complete`
    does.
    """
    is_users_own = "stream_options" in run.request_extra
    if is_users_own or "stream_options" not in body_fields(run, served_as):
        return run
    if not _hold_several(sample or try_fields(api, run, served_as, SAMPLE_TOKENS)):
        return run
    try:
        reply = try_fields(api, counting(run), served_as, SAMPLE_TOKENS)
    except UserError:
        return run
    return run if reply.first_chunk_tokens is None else counting(run)


def _hold_several(reply: Reply) -> bool:
    """Whether the first chunk may have several tokens, by the chunks that follow."""
    if not reply.streamed or reply.first_chunk_tokens is not None or not reply.completion_tokens:
        return False
    return reply.completion_tokens - 1 > MOST_A_CHUNK * (len(reply.chunk_reads) - 1)


def _one_by_one(
    api: ServerApi, run: Run, served_as: str | None, names: tuple[str, ...], rest: list[str]
) -> tuple[str, ...]:
    """The refused fields. names: those refused for certain; rest: the candidates."""
    try_fields(api, without(run, (*names, *rest)), served_as)
    refusals = names
    for i, name in enumerate(rest):
        try:
            try_fields(api, without(run, (*refusals, *rest[i + 1 :])), served_as)
        except BodyRefusedError:
            refusals += (name,)
    return refusals


def _removable(run: Run, served_as: str | None) -> list[str]:
    """Optional fields of the run's requests, without the user's own."""
    body = sample_body(run, served_as, "", salted=True)
    return [name for name in OPTIONAL if name in body and name not in run.request_extra]


def try_fields(api: ServerApi, run: Run, served_as: str | None, tokens: int = 1) -> Reply:
    """The reply to a short request with the run's fields. Raises as `ServerApi.complete` does."""
    short = run.model_copy(update={"max_tokens": tokens})
    body = sample_body(short, served_as, prompt(_SEED, 0, _WORDS), salted=True)
    return api.complete(run.endpoint, body, run.timeout_s)
