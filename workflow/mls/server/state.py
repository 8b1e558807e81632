"""A server's state in a few figures, and which engine it is by what it says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mls.core.errors import UserError
from mls.protocol.engines.llama_cpp import LLAMA_CPP
from mls.protocol.engines.profile import Profile
from mls.protocol.engines.registry import GENERIC, by_name, by_owners, by_samples
from mls.protocol.values import count, words
from mls.server.api import ServerApi
from mls.server.model_list import ListedModel, entry_of, owners

_SETTLE_S = 2.0
_SETTLE_EVERY_S = 0.05
_STILL_S = 5.0
"""How long a server that says it is at work has made no token until it is taken to rest: a gauge of
vLLM with several API processes may keep what one of them wrote last until the next request."""


@dataclass(frozen=True)
class Answers:
    """What the paths that a state is made of answered; None for one that didn't."""

    props: dict[str, Any] | None
    slots: list[dict[str, Any]] | None
    models: list[ListedModel] | None


def snapshot(
    api: ServerApi, model: str | None = None, answers: Answers | None = None
) -> dict[str, Any]:
    """The server's state, as taken before and after each run. Raises `UserError`.

    model: the name in the requests. answers: where the caller has them, else the server is asked.
    `engine`: name of its profile. `metrics`: name → figure, as `read_metrics` has them; null where
    the server has none of its engine.
    """
    answers = answers or _answers(api)
    props, slots, models = answers.props, answers.slots, answers.models
    profile, metrics = _identity(api, props, slots, models, model)
    busy = None if slots is None else sum(bool(slot.get("is_processing")) for slot in slots)
    return {
        "engine": profile.name,
        "health": health(api, props, slots),
        **properties(api, profile, props, slots, models, model),
        "busy_slots": busy,
        "metrics": metrics,
    }


def settled(
    api: ServerApi, model: str | None = None, within_s: float = _SETTLE_S
) -> dict[str, Any]:
    """`snapshot` once the server has no more requests at work by its own figures, or `within_s`.

    Its counters lag behind its replies by a step of its engine. Others may use it, too, so that it
    never rests. A server that counts its tokens, and makes none, rests as well.
    """
    made, since = -1.0, time.monotonic()
    deadline = since + within_s
    while True:
        state = snapshot(api, model)
        profile, metrics = by_name(state["engine"]), state["metrics"] or {}
        at_work = sum(metrics.get(name, 0) for name in (*profile.running, *profile.waiting))
        counts = [metrics[name] for name in profile.completion_tokens if name in metrics]
        now = time.monotonic()
        if not counts or sum(counts) != made:
            made, since = sum(counts), now
        if not at_work or now > deadline or now - since > _STILL_S:
            return state
        time.sleep(_SETTLE_EVERY_S)


def _answers(api: ServerApi) -> Answers:
    props, slots = api.props(), api.slots()
    # llama.cpp says all of it there
    return Answers(props, slots, api.models() if props is None and slots is None else None)


def _identity(
    api: ServerApi,
    props: dict[str, Any] | None,
    slots: list[dict[str, Any]] | None,
    models: list[ListedModel] | None,
    model: str | None,
) -> tuple[Profile, dict[str, float] | None]:
    """(profile, the samples of its engine)."""
    listed = by_owners(owners(models))
    metrics = api.metrics(listed.metrics_path, model) or {}
    is_llama_cpp = props is not None or slots is not None
    profile = LLAMA_CPP if is_llama_cpp else by_samples(metrics)
    if profile is GENERIC:
        profile = listed
    # those of an engine behind the one that answers are not its books
    own = {name: value for name, value in metrics.items() if name.startswith(profile.prefix)}
    return profile, own or None


def health(api: ServerApi, props: object, slots: object) -> str | None:
    """llama.cpp's health; None for other servers, of which some query all their models for it."""
    return None if props is None and slots is None else api.health()


def properties(
    api: ServerApi,
    profile: Profile,
    props: dict[str, Any] | None,
    slots: list[dict[str, Any]] | None,
    models: list[ListedModel] | None,
    model: str | None,
) -> dict[str, Any]:
    """Build, model path, slots, context and chat template; null where the server doesn't say."""
    if props is not None or slots is not None:
        return _llama_cpp(props or {}, slots)
    info = next((answer for path in profile.info_paths if (answer := api.info(path))), {})
    entry = entry_of(model, models or [])
    return {
        "build": words(_first(info, profile.build)),
        "model_path": entry.path if entry else None,
        "slots": count(_first(info, profile.slots)),
        "ctx_per_slot": (entry.context if entry else None) or count(_first(info, profile.context)),
        "chat_template": None,
    }


def _llama_cpp(props: dict[str, Any], slots: list[dict[str, Any]] | None) -> dict[str, Any]:
    template = props.get("chat_template")
    generation = props.get("default_generation_settings")
    settings = generation if isinstance(generation, dict) else {}
    first_slot = slots[0] if slots else {}
    return {
        "build": words(props.get("build_info")),
        "model_path": words(props.get("model_path")),
        "slots": count(props.get("total_slots")) or (len(slots) if slots else None),
        "ctx_per_slot": count(settings.get("n_ctx")) or count(first_slot.get("n_ctx")),
        "chat_template": bool(template) if isinstance(template, str) else None,
    }


def _first(info: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """The value at the first of the keys that is there; dots go into nested objects."""
    for key in keys:
        value: Any = info
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def state_or_error(api: ServerApi, model: str | None, *, settle: bool) -> dict[str, Any]:
    """`snapshot`, or `settled`; `{error}` where the server can't be reached. Never raises."""
    try:
        return settled(api, model) if settle else snapshot(api, model)
    except UserError as error:
        return {"error": str(error)}
