"""Where a reply parts from the reply that the same canary got alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mls.core.record import CANARY_COLUMNS, FINISHED_BY_LENGTH
from mls.protocol.replies.reply import Reply
from mls.protocol.token_ids import Token

Kind = Literal["none", "other", "lost", "swapped"]
"""`none`: alike as far as they are compared. `lost`: characters are missing, and all else is there.
`swapped`: it is the reply to another canary. `other`: any other difference."""

_MOST_LOST = 8
_SAME_AGAIN = 24
"""Characters that are taken for the same text: of the rest after lost ones, of another's reply."""
_REPLACEMENT = "\ufffd"


class Difference(NamedTuple):
    """The first difference. tokens: of the reference, before it; a share of a token is possible.

    character: its place in the text; None where there is none.
    """

    kind: Kind
    tokens: float
    character: int | None


@dataclass(frozen=True)
class Reference:
    """The reply to a canary alone, as far as others are compared with it.

    tokens: which they are, where the server says so. count: of the text. ends: whether the reply
    ended by itself there, and so must others.
    """

    prompt_sha256: str
    text: str
    tokens: tuple[Token, ...] | None
    count: float
    ends: bool

    def upto(self, characters: int) -> Reference:
        """The reference of its first characters alone."""
        if characters >= len(self.text):
            return self
        count = self.count * characters / len(self.text)
        tokens = None if self.tokens is None else self.tokens[: int(count)]
        return Reference(self.prompt_sha256, self.text[:characters], tokens, count, False)


def reference_of(reply: Reply, prompt_sha256: str, ends: bool) -> Reference:
    """The reference by a reply without error. ends: whether its end is one of the text."""
    text = _whole_characters(reply)
    ids = _ids(reply)
    tokens = None if ids is None else tuple(ids)
    count = reply.completion_tokens or len(reply.tokens) or len(reply.chunk_reads)
    by_itself = ends and reply.finish_reason not in (None, FINISHED_BY_LENGTH)
    return Reference(prompt_sha256, text, tokens, float(count), by_itself)


def difference(reference: Reference, others: Sequence[Reference], reply: Reply) -> Difference:
    """The first difference of a reply without error. others: the references of other canaries."""
    text = _whole_characters(reply)
    same = _same(reference.text, text)
    tokens = _tokens_before(reference, reply, same)
    is_cut = same == len(text) and reply.finish_reason == FINISHED_BY_LENGTH
    is_whole = same == len(reference.text) and not (reference.ends and len(text) > same)
    if is_cut or is_whole:
        return Difference("none", tokens, None)
    if _lost(reference.text, text, same):
        return Difference("lost", tokens, same)
    best = max((_same(other.text, text) for other in others), default=0)
    swapped = best >= max(_SAME_AGAIN, 2 * same)
    return Difference("swapped" if swapped else "other", tokens, same)


def columns(
    number: int | None, reference: Reference, others: Sequence[Reference], reply: Reply
) -> dict[str, Any]:
    """The columns of a record that say how far the reply to a canary is the one alone."""
    if reply.error is not None:
        return dict(zip(CANARY_COLUMNS, (number, None, None, None), strict=True))
    return dict(zip(CANARY_COLUMNS, (number, *difference(reference, others, reply)), strict=True))


def _same(one: str, other: str) -> int:
    """The number of characters in which two texts begin alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _tokens_before(reference: Reference, reply: Reply, same: int) -> float:
    ids = _ids(reply)
    if ids is not None and reference.tokens is not None:
        pairs = zip(reference.tokens, ids, strict=False)
        alike = next((at for at, (a, b) in enumerate(pairs) if a != b), None)
        return float(min(len(reference.tokens), len(ids)) if alike is None else alike)
    return reference.count * same / max(1, len(reference.text))


def _ids(reply: Reply) -> list[Token] | None:
    """The reply's tokens, if the server names them all."""
    return reply.tokens if reply.tokens and len(reply.tokens) == reply.completion_tokens else None


def _whole_characters(reply: Reply) -> str:
    """The text without a character in which the token limit may have ended it."""
    text = reply.hide(reply.content)
    return text.rstrip(_REPLACEMENT) if reply.finish_reason == FINISHED_BY_LENGTH else text


def _lost(reference: str, text: str, same: int) -> bool:
    """Whether the text goes on as the reference does a few characters later, to its end."""
    for lost in range(1, _MOST_LOST + 1):
        rest = reference[same + lost :]
        length = min(len(rest), len(text) - same)
        if length >= _SAME_AGAIN and text[same : same + length] == rest[:length]:
            return True
    return False
