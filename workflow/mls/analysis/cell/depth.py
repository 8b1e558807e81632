"""Prompt processing (pp) and generation (tg) at a depth, as llama-bench names them: one request alone.

docs/METHODS.md defines the figures, and says what of each is outside llama-bench's.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from mls.analysis import intervals
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.columns import Floats, floats, ints, succeeded
from mls.analysis.repeat.samples import of_requests
from mls.core.units import MS_PER_S

FIGURES = (
    "depth.cached_tokens",
    "depth.new_tokens",
    "depth.pp_per_s",
    "depth.server_pp_per_s",
    "depth.tg_per_s",
    "depth.server_tg_per_s",
    "depth.outside_ms",
)
"""Figures of `depth_figures`."""


def depth_estimates(tables: Iterable[pa.Table]) -> dict[str, Estimate]:
    """Name in `FIGURES` → mean over the repeats; a figure that one of them lacks is left out."""
    repeats = [depth_figures(table) for table in tables]
    estimates = {
        name: intervals.mean([own[name] for own in repeats])
        for name in FIGURES
        if all(name in own for own in repeats)
    }
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}


def depth_figures(table: pa.Table) -> dict[str, float]:
    """Name in `FIGURES` → mean over the successful requests of a repeat.

    A figure that one of them lacks is left out: the others may be no random sample.
    """
    ok = succeeded(table)
    means = {name: values[ok] for name, values in _of_requests(table).items()}
    return {
        name: float(values.mean())
        for name, values in means.items()
        if len(values) and not np.isnan(values).any()
    }


def _of_requests(table: pa.Table) -> dict[str, Floats]:
    """One value a request, NaN where unknown."""
    prompt, cached = ints(table, "prompt_tokens"), ints(table, "cached_tokens")
    new = np.where(prompt.valid & cached.valid, prompt.values - cached.values, np.nan)
    completion = ints(table, "completion_tokens")
    # The first token comes from the prompt's own pass, and takes no step
    steps = np.where(completion.valid & (completion.values > 1), completion.values - 1, np.nan)
    times = of_requests(table)
    server_prompt, server_predicted = (
        floats(table, f"server_{part}_ms") for part in ("prompt", "predicted")
    )
    values = (
        np.where(cached.valid, cached.values, np.nan),
        new,
        _rate(new, times["ttft_ms"]),
        _rate(new, server_prompt),
        _rate(np.ones(len(new)), times["tpot_ms"]),
        _rate(steps, server_predicted),
        times["ttft_ms"] - server_prompt,
    )
    return dict(zip(FIGURES, values, strict=True))


def _rate(tokens: Floats, ms: Floats) -> Floats:
    """Tokens/s; NaN where either is unknown or the time is none."""
    return np.divide(tokens * MS_PER_S, ms, out=np.full(len(ms), np.nan), where=ms > 0)
