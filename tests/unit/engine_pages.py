"""Answers of real engines, recorded around a few requests of known lengths.

Each folder below `tests/fixtures/engines` is of one version; its README says how it was recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures" / "engines"

ENGINES = {"vllm-0.32.0": "vLLM", "llama.cpp-b11434": "llama.cpp"}
"""Folder with pages of metrics → name of the profile."""

PROMPT_TOKENS = {"vllm-0.32.0": 34, "llama.cpp-b11434": 32}
"""Folder → tokens of each recorded request's prompt."""


def page(engine: str, when: str) -> str:
    """The page of metrics `before` or `after` the recorded requests."""
    return (FOLDER / engine / f"metrics_{when}.txt").read_text()


def answer(engine: str, name: str) -> Any:
    """The JSON that an engine answered. name: that of the file, without its ending."""
    return json.loads((FOLDER / engine / f"{name}.json").read_text())
