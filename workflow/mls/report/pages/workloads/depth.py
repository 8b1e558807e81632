"""The page's table of depths: `pp512 @ d4096` and `tg128 @ d4608`, as llama-bench names its tests."""

from __future__ import annotations

from dataclasses import dataclass

from mls.analysis.cell.result import CellResult
from mls.analysis.study import Study
from mls.config.sections.workload import Lengths
from mls.config.settings import settings
from mls.report.plots.series import label_or_load
from mls.report.text.numbers import interval, number


@dataclass(frozen=True)
class DepthRow:
    """One test of one cell, as texts."""

    cell: str
    test: str
    figures: list[str]


HEADINGS = (
    "client’s clock, tokens/s",
    "server’s clock, tokens/s",
    "new tokens",
    "from the cache",
    "outside, ms",
)
_PP = ("pp_per_s", "server_pp_per_s", "new_tokens", "cached_tokens", "outside_ms")
_TG = ("tg_per_s", "server_tg_per_s")


def depth_table(study: Study, names: list[str]) -> list[DepthRow]:
    """Two rows a cell; none for other workloads. names: axes that name a cell."""
    if study.config.workload.kind != "depth":
        return []
    return [row for cell in study.cells for row in _rows(study, cell, names)]


def _rows(study: Study, cell: CellResult, names: list[str]) -> list[DepthRow]:
    if not any(name.startswith("depth.") for name in cell.estimates):
        return []
    own = settings(study.config, cell.cell, repeat=1)
    depth, prompt = own.workload.depth, own.workload.prompt_tokens
    reply = own.workload.output_tokens or Lengths(distribution="fixed", value=own.run.max_tokens)
    # A reply is generated behind the prompt, new tokens and all
    behind = f"d{depth + prompt.value}" if prompt.value else f"d{depth} + prompt"
    name = label_or_load(cell, names)
    return [
        DepthRow(name, f"pp{_length(prompt)} @ d{depth}", [_figure(cell, f) for f in _PP]),
        DepthRow(
            name, f"tg{_length(reply)} @ {behind}", [*(_figure(cell, f) for f in _TG), "", "", ""]
        ),
    ]


def _length(lengths: Lengths) -> str:
    """The tokens of a test; empty where they differ."""
    return str(lengths.value) if lengths.value else ""


def _figure(cell: CellResult, figure: str) -> str:
    estimate = cell.estimates.get(f"depth.{figure}")
    if estimate is None:
        return "–"
    span = interval(estimate)
    return f"{number(estimate.value)}{f' ({span})' if span else ''}"
