"""Studies of sweeps with a known answer, and the answer of a page as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.synthetic import Load, table, write_failure, write_repeat

from mls.analysis.answer import Answer
from mls.analysis.study import Study, read_study
from mls.config.axes import Cell
from mls.config.cells import cells
from mls.config.config import Config
from mls.report.text.answer import sentences


def answer_text(answer: Answer, study: Study) -> str:
    """All sentences of the answer, without markup and with ordinary spaces."""
    several = len(answer.models) > 1
    lines = [
        line
        for model in answer.models
        for line in sentences(model, answer.rate, study.varying, several)
    ]
    return re.sub(r"<[^>]+>", "", " ".join(lines)).replace("\u202f", " ").replace("\u2060", "")


def measure(
    sweep: Config,
    results: Path,
    itl_ms: Callable[[Cell, int], float],
    skip: Sequence[int] = (),
    **fields: Any,
) -> Study:
    """A study of repeats with the pace itl_ms(cell, repeat).

    skip: indices of the cells that fail. fields: other fields of every `Load`.
    """
    for index, cell in enumerate(cells(sweep)):
        for repeat in range(1, sweep.repeats + 1):
            if index in skip:
                write_failure(sweep, results, cell, repeat, "The server died.")
                continue
            load = Load(
                places=cell["inflight"], requests=40, tokens=32, itl_ms=itl_ms(cell, repeat)
            )
            write_repeat(sweep, results, cell, repeat, table(replace(load, **fields)))
    return read_study(sweep, results)
