"""The tokens of a reply, where the server says which they are: by ids, or with logprobs."""

from __future__ import annotations

from typing import Any

from mls.protocol.values import dicts

Token = int | str
"""A token's id, or its text where the server gives no ids."""


def tokens_of(holder: dict[str, Any]) -> list[Token]:
    """The tokens of a chunk's choice, or of a chunk of llama.cpp's `/completion`; empty without any.

    vLLM says `token_ids`, llama.cpp `tokens`; OpenAI's logprobs have the tokens' texts, to which
    llama.cpp adds an `id`.
    """
    for name in ("token_ids", "tokens"):
        ids = holder.get(name)
        if isinstance(ids, list) and ids and all(isinstance(each, int) for each in ids):
            return ids
    logprobs = holder.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    texts = logprobs.get("tokens")  # Of text completions
    if isinstance(texts, list) and all(isinstance(each, str) for each in texts):
        return texts
    found = [each.get("id", each.get("token")) for each in dicts(logprobs.get("content"))]
    return [each for each in found if isinstance(each, int | str)]
