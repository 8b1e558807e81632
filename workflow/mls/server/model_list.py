"""What `/v1/models` lists, and which of it a run asks for when the config doesn't say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mls.config.parse import nearest
from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.values import dicts, plain, words

_LISTED = 500  # characters of the names that a server lists
_MOST_NAMES = 8
_REFUSALS = re.compile(r"HTTP 4(00|22)\b|answered with an error")
_NO_COMPLETIONS = re.compile(r"embed|rerank|whisper|\btts\b|moderation", re.IGNORECASE)


@dataclass(frozen=True)
class ListedModel:
    """One model of a server's list."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: str | None = None
    """As the server says it, such as `embedding`."""
    loaded: bool = True
    """False where the server says that it isn't."""

    @property
    def is_pattern(self) -> bool:
        """It stands for any name that fits, as a gateway's `openai/*` does."""
        return "*" in self.name

    @property
    def completes(self) -> bool:
        """Whether it may be a model for completions, as far as its name and kind say."""
        return not _NO_COMPLETIONS.search(f"{self.name} {self.kind or ''}".replace("_", "-"))


def read_list(data: Any) -> list[ListedModel] | None:
    """The models of an answer: OpenAI's list, a bare one, or Ollama's; None where it is no list."""
    if isinstance(data, dict):
        data = next((data[key] for key in ("data", "models") if isinstance(data.get(key), list)), 0)
    if not isinstance(data, list):
        return None
    entries = [{"id": entry} if isinstance(entry, str) else entry for entry in data]
    models = [_model(entry) for entry in dicts(entries)]
    return [model for model in models if model]


def _model(entry: dict[str, Any]) -> ListedModel | None:
    name = next((each for key in ("id", "name", "model") if (each := words(entry.get(key)))), None)
    if name is None:
        return None
    aliases, status = entry.get("aliases"), entry.get("status")
    state = status.get("value") if isinstance(status, dict) else None
    return ListedModel(
        name,
        tuple(each for each in aliases if isinstance(each, str))
        if isinstance(aliases, list)
        else (),
        words(entry.get("type")),
        state != "unloaded",
    )


def names(models: Sequence[ListedModel]) -> list[str]:
    """Names and aliases, the first model's first, each once."""
    return list(dict.fromkeys(name for one in models for name in (one.name, *one.aliases)))


def model_to_ask_for(models: Sequence[ListedModel] | None, run: Run) -> str | None:
    """The first model that fits the endpoint and is loaded, else the nearest to that; None: none.

    Patterns are not names.
    """
    candidates = [model for model in models or () if not model.is_pattern]
    if not candidates:
        return None
    return min(candidates, key=lambda m: (m.completes == run.embeds, not m.loaded)).name


def is_listed(name: str, models: Sequence[ListedModel]) -> bool:
    """Whether the list has the name, or a pattern that it fits."""
    return any(fnmatchcase(name, each) if "*" in each else each == name for each in names(models))


def unlisted(model: str, served_as: str, models: Sequence[ListedModel]) -> str:
    """For the user: that the list doesn't have the name, what it has, and which key names it."""
    listed = names(models)
    return (
        f"the server doesn't list {served_as!r}{nearest(served_as, listed)}; it lists {_shown(listed)}: "
        f"set models.{model}.served_as to one of them"
    )


def explained(
    error: UserError,
    model: str,
    served_as: str | None,
    sent: str | None,
    models: Sequence[ListedModel] | None,
) -> UserError:
    """The error, with what the model's name may have to do with it where it is a refusal.

    served_as: the name in the config for `model`, sent: the one in the request, None where there is
    none.
    """
    text = str(error)
    missing = "HTTP 404" in text and "model" in text.lower()
    if not missing and not _REFUSALS.search(text):
        return error
    words = _advice(model, served_as, sent, models)
    return UserError(f"{text.rstrip('.')}; {words}.") if words else error


def _advice(
    model: str, served_as: str | None, sent: str | None, models: Sequence[ListedModel] | None
) -> str | None:
    """None where the name can't be the reason."""
    key = f"models.{model}.served_as (--model)"
    if served_as:
        listed = not models or is_listed(served_as, models)
        return None if listed else unlisted(model, served_as, models or [])
    if sent is None:
        known = f"it lists {_shown(names(models))}" if models else "it lists none"
        return f"no model was asked for by name, as {known}: set {key} to one that the server has"
    if models is None or len(models) == 1:
        return None
    return (
        f"the model asked for was {sent!r}, of those that the server lists ({_shown(names(models))}): "
        f"set {key} to the one that is meant"
    )


def _shown(listed: list[str]) -> str:
    text = plain(", ".join(listed[:_MOST_NAMES]))
    if len(listed) <= _MOST_NAMES and len(text) <= _LISTED:
        return text
    return f"{text[:_LISTED]}…, {len(listed)} in all"
