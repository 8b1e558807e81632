"""The optional fields of a request that a server refuses: strict servers refuse unknown ones."""

from __future__ import annotations

import re

from mls.config.sections.run import Run
from mls.protocol.prompts import prompt
from mls.protocol.request import OPTIONAL, sample_body, without
from mls.server.api import BodyRefusedError, ServerApi

_SEED, _WORDS = 0, 4


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
            _try(api, without(run, names), served_as)
            return names
        except BodyRefusedError as error:
            rest = [name for name in _removable(run, served_as) if name not in names]
            matches = tuple(name for name in rest if re.search(rf"\b{name}\b", error.words))
            if not matches:
                return _one_by_one(api, run, served_as, names, rest)
            names += matches


def _one_by_one(
    api: ServerApi, run: Run, served_as: str | None, names: tuple[str, ...], rest: list[str]
) -> tuple[str, ...]:
    """The refused fields. names: those refused for certain; rest: the candidates."""
    _try(api, without(run, (*names, *rest)), served_as)
    refusals = names
    for i, name in enumerate(rest):
        try:
            _try(api, without(run, (*refusals, *rest[i + 1 :])), served_as)
        except BodyRefusedError:
            refusals += (name,)
    return refusals


def _removable(run: Run, served_as: str | None) -> list[str]:
    """Optional fields of the run's requests, without the user's own."""
    body = sample_body(run, served_as, "", salted=True)
    return [name for name in OPTIONAL if name in body and name not in run.request_extra]


def _try(api: ServerApi, run: Run, served_as: str | None) -> None:
    short = run.model_copy(update={"max_tokens": 1})
    body = sample_body(short, served_as, prompt(_SEED, 0, _WORDS), salted=True)
    api.complete(run.endpoint, body, run.timeout_s)
