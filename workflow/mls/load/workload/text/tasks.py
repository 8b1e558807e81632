"""What is asked of a passage, by category: the words after it.

They come after it, since prompts that begin with the same question would share a cached prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mls.config.sections.workload import Category

Kind = Literal["prose", "code"]

KINDS: dict[Category, tuple[Kind, ...]] = {
    "prose": ("prose",),
    "code": ("code",),
    "chat": ("prose", "code"),
    "copy": ("prose", "code"),
}
"""The texts that passages of a category are cut out of, in turns."""

_QUESTIONS: dict[Kind, tuple[str, ...]] = {
    "prose": (
        "Summarize the text above in a few sentences.",
        "Explain the text above to someone who has just begun to program.",
        "Which questions does the text above answer?",
    ),
    "code": (
        "Explain what the code above does, step by step.",
        "Write a unit test for the code above.",
        "Which errors can occur in the code above, and when?",
    ),
}
_COPY = "Repeat the text above exactly, word for word, and write nothing else."
_ANSWER = "\n\nAnswer: The"  # without a word of it some models end at once
_COPY_BEGINS = "\n\nThe same text again:\n"


@dataclass(frozen=True)
class Tail:
    """The words after a passage, and their tokens."""

    text: str
    tokens: int


def tails(category: Category, kind: Kind, chats: bool) -> tuple[str, ...]:
    """What may follow a passage. chats: whether a chat template says who speaks."""
    match category:
        case "prose" | "code":
            return ("",)
        case "chat":
            return tuple(
                f"\n\n{question}" if chats else f"\n\nQuestion: {question}{_ANSWER}"
                for question in _QUESTIONS[kind]
            )
        case "copy":
            return (f"\n\n{_COPY}" if chats else _COPY_BEGINS,)
