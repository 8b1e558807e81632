"""Processes of the server that repeats of a cell shared (`server.reuse: cell`), in words."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from mls.analysis.study import Study

_CACHE = {
    "reset": "the server's cache was emptied before each repeat",
    "off": "requests used no cache",
    "salted": "requests of a repeat had a cache_salt that no earlier ones had",
    "other prompts": "the prompts of each repeat were others",
}


def shared_processes(study: Study, model: str | None = None) -> list[dict[str, Any]]:
    """What the repeats of a model, or of all, recorded of the process that they shared."""
    return [
        process
        for cell in study.cells
        for repeat in cell.ok
        if model in (None, cell.cell["model"])
        and repeat.result
        and (process := repeat.result.server.get("process"))
    ]


def process_sentences(study: Study, model: str) -> list[Markup]:
    """What the intervals of a model leave out; empty where each repeat had a process of its own."""
    if not shared_processes(study, model):
        return []
    return [
        Markup(
            "<b>One start of the server a cell:</b> its repeats shared a process "
            "(server.reuse: cell), so what varies from one start of the server to the next is in no interval, "
            "and may be in the differences between cells."
        )
    ]


def cache_words(study: Study, model: str) -> list[str]:
    """What kept the prompts of earlier repeats out of the cache, as a sentence; empty likewise."""
    kinds = dict.fromkeys(each.get("cache") for each in shared_processes(study, model))
    texts = [_CACHE[kind] for kind in kinds if kind in _CACHE]
    return [f"In the process that repeats shared, {' or '.join(texts)}."] if texts else []
