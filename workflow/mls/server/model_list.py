"""The models that `/v1/models` lists, and the one that a run uses when the config names none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mls.config.sections.run import Run
from mls.core.errors import UserError, nearest
from mls.protocol.values import dicts, plain, positive, words

_NAMES_LENGTH = 500  # Characters of a server's list in a message
_MOST_NAMES = 8
_REFUSALS = re.compile(r"HTTP 4(00|22)\b|answered with an error")
_NOT_LOADED = {"unloaded", "loading", "sleeping", "downloading", "downloaded"}
"""A llama.cpp router's words for a model that doesn't answer at once."""
_NO_COMPLETIONS = re.compile(r"embed|rerank|whisper|\btts\b|moderation", re.IGNORECASE)


@dataclass(frozen=True)
class ListedModel:
    """One model of a server's list."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: str | None = None
    """The server's word, such as `embedding`."""
    loaded: bool = True
    """False only where the server says so: a router's model may have to be loaded, or woken."""
    owner: str | None = None
    """`owned_by`, which for some is the engine's name."""
    context: int | None = None
    """vLLM's and SGLang's `max_model_len`: tokens of prompt and reply together."""
    path: str | None = None
    """vLLM's `root`: where the model comes from, at the server."""

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for any that matches, as a gateway's `openai/*` does."""
        return "*" in self.name

    @property
    def completes(self) -> bool:
        """Whether the model may be one for completions, judging by its name and kind."""
        return not _NO_COMPLETIONS.search(f"{self.name} {self.kind or ''}".replace("_", "-"))


def read_list(data: Any) -> list[ListedModel] | None:
    """The models of an answer: OpenAI's list, a bare one, or Ollama's; None for any other value."""
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
        state not in _NOT_LOADED,
        words(entry.get("owned_by")),
        positive(entry.get("max_model_len")),
        words(entry.get("root")),
    )


def names(models: Sequence[ListedModel]) -> list[str]:
    """Names and aliases in the list's order, each once."""
    return list(dict.fromkeys(name for one in models for name in (one.name, *one.aliases)))


def model_to_ask_for(models: Sequence[ListedModel] | None, run: Run) -> str | None:
    """The first model that suits the endpoint and is loaded; None for an empty list.

    Where no model is both, suiting the endpoint counts first. Patterns are not names.
    """
    candidates = [model for model in models or () if not model.is_pattern]
    if not candidates:
        return None
    return min(candidates, key=lambda m: (m.completes == run.embeds, not m.loaded)).name


def owners(models: Sequence[ListedModel] | None) -> set[str]:
    """`owned_by` of the models that say it."""
    return {one.owner for one in models or () if one.owner}


def entry_of(model: str | None, models: Sequence[ListedModel]) -> ListedModel | None:
    """The entry of that name or alias, else the only one; None where it can't be told."""
    entries = [entry for entry in models if model in (entry.name, *entry.aliases)]
    return next(iter(entries or (models if len(models) == 1 else ())), None)


def is_listed(name: str, models: Sequence[ListedModel]) -> bool:
    """Whether the list has the name, or a pattern that it matches."""
    return any(fnmatchcase(name, each) if "*" in each else each == name for each in names(models))


def unlisted(model: str, served_as: str, models: Sequence[ListedModel]) -> str:
    """A clause for the user: the name isn't listed, the names that are, and the key to set."""
    all_names = names(models)
    return (
        f"the server doesn't list {served_as!r}{nearest(served_as, all_names)}; it lists "
        f"{_name_list(all_names)}: set models.{model}.served_as to one of them"
    )


def explain(
    error: UserError,
    model: str,
    served_as: str | None,
    request_model: str | None,
    models: Sequence[ListedModel] | None,
) -> UserError:
    """The error; a refusal gets advice on the model's name, where that may be the reason.

    served_as: the config's name for `model`. request_model: the name in the request. None of either
    means that there is no such name.
    """
    text = str(error)
    missing = "HTTP 404" in text and "model" in text.lower()
    if not missing and not _REFUSALS.search(text):
        return error
    words = _advice(model, served_as, request_model, models)
    return UserError(f"{text.rstrip('.')}; {words}.") if words else error


def _advice(
    model: str,
    served_as: str | None,
    request_model: str | None,
    models: Sequence[ListedModel] | None,
) -> str | None:
    """Advice on the model's name; None where the name can't be the reason."""
    key = f"models.{model}.served_as (--model)"
    if served_as:
        is_possible = not models or is_listed(served_as, models)
        return None if is_possible else unlisted(model, served_as, models or [])
    if request_model is None:
        listing = f"it lists {_name_list(names(models))}" if models else "it lists none"
        return f"no model was asked for by name, as {listing}: set {key} to one that the server has"
    if models is None or len(models) == 1:
        return None
    return (
        f"the model asked for was {request_model!r}, of those that the server lists "
        f"({_name_list(names(models))}): set {key} to the one that is meant"
    )


def _name_list(all_names: list[str]) -> str:
    text = plain(", ".join(all_names[:_MOST_NAMES]))
    if len(all_names) <= _MOST_NAMES and len(text) <= _NAMES_LENGTH:
        return text
    return f"{text[:_NAMES_LENGTH]}…, {len(all_names)} in all"
