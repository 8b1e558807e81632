"""Workloads whose prompts share what came before: what each asks for, and what a cache makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 64
"""Tokens of a block in the agents' trace: half of one of vLLM's on a CPU."""


@dataclass(frozen=True)
class Workload:
    """One run of the load generator, with the cache on."""

    name: str
    run: dict[str, Any]
    """As `run` of the config."""
    workload: dict[str, Any]
    """As `workload` of the config, without its file."""
    rows: Callable[[], list[dict[str, Any]]] | None = None
    """The rows of its file."""
    beyond_slots: bool = False
    """Whether slots, each with its own prompts, lack some of what prompts share, as requests with one
    beginning are in flight at once."""
    contexts: int = 1
    """Beginnings that it goes on from by turns, more than a small cache has room for if several."""

    def config(self, folder: Path) -> dict[str, Any]:
        """Its part of a config, with its file in the folder."""
        run = {"ranks": 1, "warmup": 1, "cache_prompt": True} | self.run
        workload = dict(self.workload)
        if self.rows:
            path = folder / f"{self.name}.jsonl"
            path.write_text("\n".join(map(json.dumps, self.rows())))
            workload["file"] = str(path)
        return {"name": self.name, "run": run, "workload": workload}


_SYSTEM = "You keep the lights of a harbour, and never switch a lamp twice within a minute. " * 15


def _said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _conversations() -> list[dict[str, Any]]:
    """Two that begin alike, each with two branches of two turns."""

    def branch(lamp: str) -> list[dict[str, str]]:
        texts = (f"Look after the {lamp} lamp." * 6, "It is on.", "And now?", "It is on.")
        return [
            _said(role, text) for role, text in zip(("user", "assistant") * 2, texts, strict=True)
        ]

    talk = [
        *(
            _said("system", _SYSTEM),
            _said("user", "Begin."),
            _said("assistant", "I ask two others."),
        ),
        {"branches": [branch("left"), branch("right")]},
        *(_said("user", "What did they find?"), _said("assistant", "All is well.")),
    ]
    return [{"messages": talk}] * 2


def _sessions() -> list[dict[str, Any]]:
    """Three agents of four requests, of which two are of whole blocks."""
    return [
        {
            "session_id": agent,
            "input_length": length * BLOCK - rest,
            "output_length": 4,
            "hash_ids": [100 * agent + at for at in range(length)],
            "delay": 50,
        }
        for length, rest in ((4, 0), (7, 20), (10, 0), (12, 20))
        for agent in range(3)
    ]


_COMPLETIONS = {"endpoint": "/v1/completions", "inflight": 1, "max_tokens": 4}

WORKLOADS = (
    Workload(
        "branches",
        {"inflight": 1, "iters": 2, "max_tokens": 16},
        {"kind": "conversation", "history": "own"},
        _conversations,
        beyond_slots=True,
    ),
    Workload(
        "prefixes",
        {"iters": 12} | _COMPLETIONS,
        {"kind": "shared_prefix", "prompt_tokens": 600, "prefix_tokens": 500, "groups": 3},
        contexts=3,
    ),
    Workload(
        "prefixes-system",  # which is in the cache for all of them, and longer than a prefix
        {"iters": 12} | _COMPLETIONS | {"endpoint": "/v1/chat/completions"},
        {"kind": "shared_prefix", "prompt_tokens": 700, "prefix_tokens": 200, "groups": 3}
        | {"system": _SYSTEM},
        contexts=3,
    ),
    Workload(
        "conversations",
        {"inflight": 4, "iters": 4, "max_tokens": 12},
        {"kind": "conversation", "prompt_tokens": 150, "turns": 4},
        contexts=4,
    ),
    *(
        Workload(
            f"depth-{depth}",
            {"iters": 3} | _COMPLETIONS,
            {"kind": "depth", "depth": depth, "prompt_tokens": 64},
        )
        for depth in (0, 256, 512)
    ),
    Workload(
        "agents",
        {"inflight": 3, "iters": 3},
        {
            "kind": "blocks",
            "block_tokens": BLOCK,
            "prompt_tokens": "trace",
            "output_tokens": "trace",
        },
        _sessions,
        contexts=3,
    ),
)
