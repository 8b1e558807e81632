"""The server as its own tokenizer: the tokens of whole prompts, chat template included."""

from __future__ import annotations

from collections.abc import Callable

from mls.config.sections.run import Run
from mls.protocol.body import messages_of
from mls.server.api import ServerApi

_MARK = "⟦text⟧"

PromptCounter = Callable[[str], int | None]
"""A user's text → tokens of the prompt that it becomes; None where the server fails to count."""


def prompt_counter(
    api: ServerApi, run: Run, system: str | None, served_as: str | None
) -> PromptCounter | None:
    """A counter by the server's `/tokenize`; None where the server has none for the run's endpoint.

    llama.cpp's counts the tokens of a text, and `/apply-template` tells the text around a user's;
    vLLM's and SGLang's counts those of messages.
    """
    if not run.chats:
        return None if api.tokenize("a") is None else lambda text: api.tokenize(text, special=True)
    around = _around(api, run, system)
    if around is not None:
        if api.tokenize("a") is None:
            return None
        return lambda text: api.tokenize(around(text), special=True)

    def of_messages(text: str) -> int | None:
        return api.count_messages(messages_of(text, system), served_as)

    return None if of_messages("a") is None else of_messages


def _around(api: ServerApi, run: Run, system: str | None) -> Callable[[str], str] | None:
    """A function from the user's text to the whole prompt; None when the server can't tell it."""
    prompt = api.apply_template(messages_of(_MARK, system))
    if prompt is None or prompt.count(_MARK) != 1:
        return None
    before, after = prompt.split(_MARK)
    return lambda text: f"{before}{text}{after}"
