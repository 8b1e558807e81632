"""Speculative decoding of llama.cpp's servers: its settings, and whether it was refused.

Both engines have the same settings, by attributes of xllamacpp and by options of llama-server.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mls.config.sections.server import NO_SPECULATION, Server
from mls.core.errors import UserError

_ATTRIBUTE_OF_MAX = {
    "draft": "draft.n_max",
    "ngram-simple": "ngram_simple.size_m",
    "ngram-map-k": "ngram_map_k.size_m",
    "ngram-map-k4v": "ngram_map_k4v.size_m",
    "ngram-mod": "ngram_mod.n_max",
}
_ATTRIBUTE_OF_MIN = {"draft": "draft.n_min", "ngram-mod": "ngram_mod.n_min"}
_OPTION_OF_LIMIT = {
    "draft.n_max": "--spec-draft-n-max",
    "draft.n_min": "--spec-draft-n-min",
    "draft.p_min": "--spec-draft-p-min",
    "ngram_simple.size_m": "--spec-ngram-simple-size-m",
    "ngram_map_k.size_m": "--spec-ngram-map-k-size-m",
    "ngram_map_k4v.size_m": "--spec-ngram-map-k4v-size-m",
    "ngram_mod.n_max": "--spec-ngram-mod-n-max",
    "ngram_mod.n_min": "--spec-ngram-mod-n-min",
    "synth_len": "--spec-synth-len",
}
_WITHOUT = re.compile(r"failed to initialize speculative decoding\w*(?: context)?: *(.+)")
_VOCABULARY = "vocab type must match"
_HEAD = 1024 * 1024


def attributes(server: Server, threads: int) -> dict[str, Any]:
    """`xllamacpp.CommonParams` for the server's speculation; empty without any."""
    if server.speculation == NO_SPECULATION:
        return {}
    kind = _type(server).upper().replace("-", "_")
    values: dict[str, Any] = {"types": [f"COMMON_SPECULATIVE_TYPE_{kind}"], **_limits(server)}
    if server.draft:
        values |= {
            "draft.mparams.path": server.draft,
            "draft.n_gpu_layers": server.gpu_layers,
            "draft.cpuparams.n_threads": threads,
            "draft.cpuparams_batch.n_threads": threads,
        }
    return {f"speculative.{name}": value for name, value in values.items()}


def options(server: Server) -> list[str]:
    """Options of llama-server for the server's speculation; none without any."""
    if server.speculation == NO_SPECULATION:
        return []
    words = ["--spec-type", _type(server)]
    if server.draft:
        # as for the model itself
        layers = server.gpu_layers if server.gpu_layers >= 0 else 999
        words += ["--spec-draft-model", server.draft, "--spec-draft-ngl", str(layers)]
    for name, value in _limits(server).items():
        words += [_OPTION_OF_LIMIT[name], str(value)]
    return words


def check_log(server: Server, log: Path) -> None:
    """Raise `UserError` when llama.cpp's log says that it goes on without the speculation."""
    if server.speculation == NO_SPECULATION or not server.starts_llama_cpp:
        return
    with log.open("rb") as stream:
        refusal = _WITHOUT.search(stream.read(_HEAD).decode(errors="replace"))
    if refusal:
        why = refusal[1].strip()
        if _VOCABULARY in why:
            # also said where the types are the same, and a single token or a special one differs
            why = (
                "the draft model's vocabulary is not the model's (their types, sizes, special tokens or "
                "some other tokens differ); choose a draft model with the same tokenizer"
            )
        raise UserError(
            f"server.speculation: the engine goes on without {server.speculation}: {why}."
        )


def _type(server: Server) -> str:
    return "draft-simple" if server.draft else server.speculation


def _limits(server: Server) -> dict[str, int | float]:
    kind = server.speculation
    limits = {
        _ATTRIBUTE_OF_MAX.get(kind): server.draft_max,
        _ATTRIBUTE_OF_MIN.get(kind): server.draft_min,
        "draft.p_min": server.draft_p_min,
        "synth_len": server.synthetic_acceptance_length,
    }
    return {name: value for name, value in limits.items() if name and value is not None}
