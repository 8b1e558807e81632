"""Which requests of a load are canaries, and why there are none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from mls.config.settings import Settings
from mls.load.workload.builder import Materials, Prompt, make_prompts
from mls.load.workload.text.texts import CANARY_JOBS

LEAST_REQUESTS = 16
"""Requests of a load below which it has no canaries: they would be more than half of it."""

_ENOUGH = 8
"""Canary requests that a load has at least, so that a fault in half of its replies is seen."""

_MOST_OFTEN, _LEAST_OFTEN = 2, 8
_ALONE = ("words", "synthetic", "text", "dataset")
"""Workloads each of whose requests stands by itself."""


@dataclass(frozen=True)
class CanaryPlan:
    """The canaries of a run, and their places in its load.

    Of each `every` requests one is a canary, and each canary has its turn. seed: the repeat's, which
    decides on the places.
    """

    prompts: tuple[Prompt, ...]
    every: int
    seed: int

    def number(self, job: int) -> int | None:
        """The canary that is sent as this job; None for a request of the workload's own."""
        if job < 0:  # of the warm-up
            return None
        block, place = divmod(job, self.every)
        digest = hashlib.shake_128(b"canary/%d/%d" % (self.seed, block)).digest(4)
        if place != int.from_bytes(digest, "big") % self.every:
            return None
        return (block + self.seed) % len(self.prompts)


def plan(settings: Settings, canary_seed: int, seed: int, materials: Materials) -> CanaryPlan:
    """The canaries of a run that can have them (see `obstacle`).

    settings: with the fields of requests that the server takes. canary_seed: the config's, so that
    all cells and repeats have the same canaries. seed: the repeat's.
    """
    count = settings.replies.canaries
    requests = _requests(settings, materials)
    if settings.workload.kind == "dataset":
        materials = replace(materials, rows=materials.canary_rows)
        workload = settings.workload.model_copy(update={"replace": False})
        first = 0
    else:
        workload, first = settings.workload, CANARY_JOBS
    prompts = make_prompts(settings.run, workload, canary_seed, materials)
    every = _LEAST_OFTEN
    if requests is not None:
        every = min(max(requests // _ENOUGH, _MOST_OFTEN), _LEAST_OFTEN)
    return CanaryPlan(tuple(prompts(first + number) for number in range(count)), every, seed)


def _requests(settings: Settings, materials: Materials) -> int | None:
    if settings.requests is None and settings.load.kind == "trace" and materials.trace:
        return len(materials.trace.at_s)
    return settings.requests


def ruled_out(settings: Settings) -> str | None:
    """Why the config leaves no room for canaries; None where it does."""
    run, workload = settings.run, settings.workload
    lengths = (workload.prompt_tokens, workload.output_tokens)
    if not settings.replies.canaries:
        return "replies.canaries is 0."
    if run.embeds:
        return "embeddings and scores have no text."
    if workload.kind not in _ALONE:
        return f"requests of workload.kind {workload.kind} don't stand by themselves."
    if any(length and length.distribution == "trace" for length in lengths):
        return "each request has the lengths of its own row of the trace."
    if run.cache_prompt:
        return "run.cache_prompt is true: they would be answered from the cache."
    return None


def obstacle(settings: Settings, materials: Materials) -> str | None:
    """Why a run has no canaries though the config has room for them; None where it can have them.

    settings: as for `plan`.
    """
    requests = _requests(settings, materials)
    if settings.run.request_extra.get("temperature", 0) is None:
        return "the server takes no temperature, or run.request_extra leaves it out."
    if settings.workload.kind == "dataset" and not materials.canary_rows:
        return "the dataset has fewer usable rows than replies.canaries."
    if requests is not None and requests < LEAST_REQUESTS:
        return f"{requests} requests are too few: it takes {LEAST_REQUESTS}."
    return None
