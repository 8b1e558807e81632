"""The JSON body of a request, in the words of the run's endpoint."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from mls.config.sections.run import Api, Run
from mls.protocol.content import Messages, content_for

OPTIONAL = (
    "cache_prompt",
    "ignore_eos",
    "min_tokens",
    "cache_salt",
    "stream_options",
    "temperature",
    "max_tokens",
)
"""Fields that are left out for a server that refuses them."""


_QUESTIONS: dict[Api, str] = {"rerank": "query", "score": "text_1"}
_QUESTION = "Which of these texts is about a journey?"
"""What documents are held against, where `run.request_extra` has nothing else."""
_PROMPT_FIELDS: dict[Api, str] = {
    "embeddings": "input",
    "rerank": "documents",
    "score": "text_2",
    "infill": "input_prefix",
}
_LISTS = ("documents", "text_2")


def body_fields(run: Run, served_as: str | None) -> dict[str, Any]:
    """The JSON fields that all requests of a run share, by llama.cpp's and OpenAI's names."""
    fields: dict[str, Any] = {"model": served_as} if served_as else {}
    if run.embeds:
        question = _QUESTIONS.get(run.api)
        return with_extra(run, fields | ({question: _QUESTION} if question else {}))
    fields |= {
        "stream": run.stream,
        "temperature": run.temperature,
        "cache_prompt": run.cache_prompt,
        **length_fields(run, run.max_tokens),
    }
    if run.api == "infill":
        fields["input_suffix"] = ""
    if run.ignore_eos:
        fields["ignore_eos"] = True
    if run.stream and run.api in ("chat", "text"):  # Others count without being asked
        fields["stream_options"] = {"include_usage": True}
    return with_extra(run, fields)


def sample_body(run: Run, served_as: str | None, text: str, salted: bool) -> dict[str, Any]:
    """The body of a request with this prompt text, for requests that precede the load."""
    salt = {"cache_salt": str(uuid.uuid4())} if salted and salts(run) else {}
    return body_fields(run, served_as) | salt | prompt_field(run, text)


def with_extra(run: Run, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, updated with those of `run.request_extra`; a null there leaves a field out.

    Options of a stream go with streams alone: vLLM refuses them elsewhere.
    """
    extra = run.request_extra if run.stream else run.request_extra | {"stream_options": None}
    return {
        name: value for name, value in (fields | extra).items() if extra.get(name, 0) is not None
    }


def without(run: Run, names: Iterable[str]) -> Run:
    """The run with requests that lack these fields; see `length_fields` for `max_tokens`."""
    return run.model_copy(update={"request_extra": run.request_extra | dict.fromkeys(names)})


def counting(run: Run) -> Run:
    """The run with requests that ask for a count of tokens in each chunk, in vLLM's words."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    extra = run.request_extra | {"stream_options": options}
    return run.model_copy(update={"request_extra": extra})


def salts(run: Run) -> bool:
    """Whether each request to a server that mls didn't start has a `cache_salt` of its own.

    vLLM ignores `cache_prompt` and shares cached prefixes among requests of one salt. A salt of its
    own for each request keeps its cache out of the measurement. Other servers ignore the field, or
    refuse it.
    """
    return not (
        run.cache_prompt or run.embeds or run.is_native or "cache_salt" in run.request_extra
    )


def length_fields(run: Run, tokens: int) -> dict[str, int]:
    """The fields that ask for a reply of `tokens` tokens.

    `min_tokens` is vLLM's and SGLang's; llama.cpp's server ignores it and has `ignore_eos` instead.
    Where `max_tokens` is left out, its successor at OpenAI, `max_completion_tokens`, replaces it.
    """
    if run.is_native:
        return {"n_predict": tokens}
    name = "max_output_tokens" if run.api == "responses" else "max_tokens"
    is_users_own = run.request_extra.get(name) is not None
    has_successor = run.api in ("chat", "text") and name in run.request_extra
    successor = {"max_completion_tokens": tokens} if has_successor else {}
    minimum = {"min_tokens": tokens} if run.ignore_eos and not is_users_own else {}
    return {name: tokens, **({} if is_users_own else successor), **minimum}


def prompt_field(
    run: Run, text: str, system: str | None = None, messages: Messages | None = None
) -> dict[str, Any]:
    """The prompt in the form of the run's endpoint.

    messages: a whole conversation, instead of the one message of `text`.
    """
    if not run.chats:
        name = _PROMPT_FIELDS.get(run.api, "prompt")
        return {name: [text] if name in _LISTS else text}
    conversation = messages_of(text, system, messages)
    if run.api == "chat":
        return {"messages": conversation}
    systems = [each["content"] for each in conversation if each["role"] == "system"]
    turns = [
        each | {"content": content_for(run.api, each["content"])}
        for each in conversation
        if each["role"] != "system"
    ]
    if run.api == "messages":
        return _apart("system", systems) | {"messages": turns}
    # llama.cpp takes earlier replies only with their type
    items = [{"type": "message"} | each for each in turns]
    return _apart("instructions", systems) | {"input": items}


def _apart(name: str, systems: list[str]) -> dict[str, str]:
    """The field of the system's messages, which an empty one has, too."""
    return {name: "\n\n".join(systems)} if systems else {}


def messages_of(text: str, system: str | None = None, messages: Messages | None = None) -> Messages:
    """The prompt as a conversation, its system message first; see `prompt_field`."""
    conversation = messages or [{"role": "user", "content": text}]
    if system is not None and conversation[0]["role"] != "system":
        return [{"role": "system", "content": system}, *conversation]
    return conversation
