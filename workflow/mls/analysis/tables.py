"""The tidy tables in CSV and Parquet: `summary`, one row a repeat, and `cells`, one row a cell."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mls.analysis.canaries.replies import DIFFERENT
from mls.analysis.cell.depth import FIGURES as DEPTH
from mls.analysis.cell.metrics import GOODPUT, MEANS, POOLED, POOLED_PERCENTILES
from mls.analysis.cell.result import CellResult, flatten
from mls.analysis.efficiency.cost import COST
from mls.analysis.intervals import Estimate
from mls.analysis.repeat.evidence import worst
from mls.analysis.repeats import Repeat
from mls.analysis.speculation.speedup import SPEEDUP, speedups
from mls.analysis.study import Study, read_study
from mls.config.config import Config
from mls.core.files import write

Row = dict[str, Any]
TABLES = ("summary.csv", "summary.parquet", "cells.csv", "cells.parquet")
"""One row a repeat, and one row a cell."""

PERCENTILES = {f"p{percentile}" for percentile in POOLED_PERCENTILES}


def aggregate(config: Config, results: Path, folder: Path | None = None) -> None:
    """Write `summary` and `cells`, `.csv` and `.parquet` each, into a folder; default: `results`.

    Every repeat and every cell of the config has its row, measured or not.
    Raises `UserError` when the tables can't be written.
    """
    for name, data in tables(read_study(config, results)).items():
        write((folder or results) / name, data)


def tables(study: Study) -> dict[str, bytes]:
    """Both tables in both formats: file name (`TABLES`) → content."""
    repeats = [row for cell in study.cells for row in _repeat_rows(cell)]
    return _files("summary", repeats) | _files("cells", cell_rows(study))


def cell_rows(study: Study) -> list[Row]:
    """One row a cell: axes, repeats, verdict, then each estimate with its 95 % interval.

    Means are over repeats. Percentiles are of the pooled raw samples of all repeats; `supported`
    says whether there are enough samples.
    """
    ratios = {id(one.cell): one.ratio for one in speedups(study)}
    return [_cell_row(cell, ratios.get(id(cell))) for cell in study.cells]


def _cell_row(cell: CellResult, speedup: Estimate | None) -> Row:
    estimates = cell.estimates | ({SPEEDUP: speedup} if speedup else {})
    failed = [repeat for repeat in cell.repeats if repeat.status != "ok"]
    row: Row = dict(cell.cell)
    row["repeats_ok"] = len(cell.ok)
    row["repeats_failed"] = len(failed)
    row["verdict"] = cell.verdict
    row["verdict_failed"] = " ".join(cell.checks("fail"))
    row["message"] = " ".join(dict.fromkeys(_line(repeat.message) for repeat in failed))
    for metric in (
        *MEANS,
        *GOODPUT,
        *COST,
        SPEEDUP,
        DIFFERENT,
        *(figure for figure in DEPTH if figure in estimates),
        *(f"{name}.p{p}" for name in POOLED for p in POOLED_PERCENTILES),
    ):
        estimate: Estimate | None = estimates.get(metric)
        row[metric] = estimate.value if estimate else None
        row[f"{metric}.ci95_low"] = estimate.low if estimate else None
        row[f"{metric}.ci95_high"] = estimate.high if estimate else None
        if metric.startswith(POOLED) and metric.rpartition(".")[2] in PERCENTILES:
            row[f"{metric}.supported"] = estimate.needs is None if estimate else None
    return row


def _repeat_rows(cell: CellResult) -> list[Row]:
    return [_repeat_row(repeat) for repeat in cell.repeats]


def _repeat_row(repeat: Repeat) -> Row:
    row: Row = dict(repeat.cell)
    row |= {"repeat": repeat.number, "status": repeat.status, "message": _line(repeat.message)}
    if repeat.result is None:
        return row
    verdicts = repeat.result.verdicts
    row["verdict"] = worst(verdict.status for verdict in verdicts)
    row["verdict_failed"] = " ".join(v.check for v in verdicts if v.status == "fail")
    return row | flatten(repeat.result.summary)


def _line(text: str) -> str:
    return " ".join(text.split())


def _files(stem: str, rows: list[Row]) -> dict[str, bytes]:
    # a failed repeat has fewer keys, so the fullest rows give the order of columns
    names = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return {
        f"{stem}.csv": text.getvalue().encode(),
        f"{stem}.parquet": sink.getvalue().to_pybytes(),
    }


def _column(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an axis with values of several types
        return pa.array([None if value is None else str(value) for value in values])
    return column.cast(pa.float64()) if column.type == pa.null() else column
