"""Cells whose servers said given texts to the canaries alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mls.analysis.cell.result import CellResult
from mls.analysis.repeats import Repeat
from mls.core.run_result import CanaryReference, CanaryReport, RunResult
from mls.load.canaries.known import prefixes


def reference(
    text: str, prompt: str = "prompt", tokens: float = 32, again: bool = False
) -> CanaryReference:
    """The reference with this text. again: whether a second asking differed at once."""
    return CanaryReference(
        prompt_sha256=prompt,
        prefixes=prefixes(text),
        characters=len(text),
        tokens=tokens,
        by_tokens=False,
        again="other" if again else "none",
        again_tokens=0 if again else tokens,
    )


def sweep_of(
    texts: Sequence[Sequence[Sequence[str]]],
    tokens: Sequence[float] | None = None,
    again: bool = False,
    **settings: dict[str, Any],
) -> list[CellResult]:
    """Cells whose results hold no more than their canaries.

    texts: cell by cell, repeat by repeat, what the server said to each canary. tokens: of each
    canary. settings: sections of their config.
    """
    cells = []
    for place, repeats in enumerate(texts):
        cell = {"model": "smollm2", "inflight": 2**place}
        results = []
        for number, said in enumerate(repeats, start=1):
            report = CanaryReport(
                references=[
                    reference(text, f"prompt {i}", tokens[i] if tokens else 32, again)
                    for i, text in enumerate(said)
                ]
            )
            values: dict[str, Any] = {"cell": cell, "config": settings, "canaries": report}
            result = RunResult.model_construct(**values)
            results.append(Repeat(cell, number, Path(), "ok", "", result))
        cells.append(CellResult(cell, results, {}, {}, None))
    return cells
