"""Replies of numbers instead of text: embeddings, and scores of documents."""

from __future__ import annotations

from typing import Any

from mls.protocol.replies.reply import Reply
from mls.protocol.values import dicts

_SCORES = ("relevance_score", "score")


def take_numbers(reply: Reply, items: Any) -> None:
    """Take in the `data` of embeddings or of `/v1/score`, or the `results` of `/v1/rerank`."""
    for item in dicts(items):
        vector = item.get("embedding")
        if isinstance(vector, list | str) and vector:
            reply.embedding, reply.complete = len(vector), True
        elif any(isinstance(item.get(name), int | float) for name in _SCORES):
            reply.scores, reply.complete = (reply.scores or 0) + 1, True
