"""AIPerf's conversations as messages: a row has `turns`, each a text that a reply follows."""

from __future__ import annotations

from typing import Any

from mls.core.units import MS_PER_S

TURNS = "turns"


def as_messages(turns: Any) -> Any:
    """The messages that a row's `turns` stand for, in OpenAI's form; what is no list stays as it is.

    Turns are the user's, but for system messages; the replies aren't in the file. A turn's `delay`
    is in ms. Source: docs/tutorials/custom-dataset.md of ai-dynamo/aiperf.
    """
    if not isinstance(turns, list):
        return turns
    messages: list[Any] = []
    for turn in turns:
        if not isinstance(turn, dict):
            messages.append(turn)
            continue
        role, delay = turn.get("role") or "user", turn.get("delay")
        message = {"role": role, "content": turn.get("text")}
        if isinstance(delay, (int, float)) and not isinstance(delay, bool):
            message["delay_s"] = delay / MS_PER_S
        elif delay is not None:
            message["delay_s"] = delay
        messages.append(message)
        if role == "user":
            messages.append({"role": "assistant", "content": None})
    return messages
