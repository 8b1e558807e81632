"""Pages of metrics of real engines, recorded around a few requests of known lengths.

Each folder below `tests/fixtures/engines` is of one version; its README says how it was recorded.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures" / "engines"

ENGINES = {"vllm-0.32.0": "vLLM"}
"""Folder → name of the profile."""


def page(engine: str, when: str) -> str:
    """The page `before` or `after` the recorded requests."""
    return (FOLDER / engine / f"metrics_{when}.txt").read_text()
