"""Reading what was measured: one `Repeat` for each planned one, whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from mls.analysis.checks.pace import keeps_full
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.columns import Floats
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.gpu import PostFacts
from mls.analysis.repeat.samples import samples
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.cells import Cell, run_path
from mls.config.config import Config
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.digest import file_sha256
from mls.core.files import read_json
from mls.core.integrity import DamagedError, intact_result
from mls.core.record import REQUESTS
from mls.core.run_folder import FAILURE, RECORDS, RUN, TELEMETRY
from mls.core.run_result import Failure, RunResult

_AGAIN = "delete its folder below runs, and it is measured again"


@dataclass(frozen=True)
class Repeat:
    """One planned repeat. `result` is there if and only if its status is `ok`."""

    cell: Cell
    number: int
    folder: Path
    status: Literal["ok", "failed", "missing"]
    message: str
    result: RunResult | None = None
    digest: str | None = None
    """SHA-256 of its `run.json`."""
    places: int | None = None
    """How many its load keeps full; None when it keeps none full (open loop, users who think)."""
    records: pa.Table | None = field(default=None, repr=False, compare=False)
    """Its raw records, for a repeat that is ok; large, so let go of them soon (`slim`)."""
    samples: dict[str, Floats] | None = field(default=None, repr=False, compare=False)
    """Of its records."""
    telemetry: pa.Table | None = field(default=None, repr=False, compare=False)
    """Its time series (schema `TELEMETRY`); None when none were taken."""

    def slim(self) -> Repeat:
        """Without the records, their samples and the time series."""
        return replace(self, records=None, samples=None, telemetry=None)


def read_cell(config: Config, results: Path, cell: Cell, numbers: list[int]) -> list[Repeat]:
    """The repeats of one cell with these numbers."""
    return [_read(config, results, cell, number) for number in numbers]


def _read(config: Config, results: Path, cell: Cell, number: int) -> Repeat:
    folder = results / "runs" / run_path(config, cell, number)
    if not (folder / RUN).is_file():
        failure = folder / FAILURE
        if not failure.is_file():
            return Repeat(cell, number, folder, "missing", "Not measured yet.")
        return Repeat(cell, number, folder, "failed", _failure_message(failure))
    try:
        result = intact_result(folder)
        _check_records(folder)
        digest = file_sha256(folder / RUN)
        records = _table(folder / RECORDS)
        telemetry = _table(folder / TELEMETRY) if TELEMETRY in result.files else None
        drawn = samples(records)
        result, places = _judged_anew(result, records, drawn, telemetry, config)
    except DamagedError as why:
        return Repeat(cell, number, folder, "failed", str(why))
    except OSError as error:
        said = f"{error.filename} can't be read ({error.strerror})."
        return Repeat(cell, number, folder, "failed", said)
    return Repeat(cell, number, folder, "ok", "", result, digest, places, records, drawn, telemetry)


def _table(path: Path) -> pa.Table:
    # without threads of its own: cells are read side by side, on all cores
    return pq.ParquetFile(path).read(use_threads=False)


def _judged_anew(
    result: RunResult,
    records: pa.Table,
    drawn: dict[str, Floats],
    telemetry: pa.Table | None,
    config: Config,
) -> tuple[RunResult, int | None]:
    """(summary and verdicts from the raw records, by today's definitions and thresholds; places).

    So a changed definition or threshold needs no new measurement, and never mixes with old ones.
    """
    before, after = (result.server.get(when, {}).get("metrics") for when in ("before", "after"))
    client = result.summary.client
    post = result.summary.gpu.post if result.summary.gpu else None
    try:
        run = Run.model_validate(result.config.get("run"))
        load = Load.model_validate(result.config.get("load", {}))
        workload = Workload.model_validate(result.config.get("workload", {}))
    except ValidationError:
        raise DamagedError(f"{RUN} is corrupt (at `config`): {_AGAIN}.") from None
    asked, steady = result.summary.inflight.asked, keeps_full(load, workload)
    facts = RunFacts(
        asked,
        client.clock,
        client.per_rank,
        before,
        after,
        post=PostFacts(post.asked, post.work, post.reason, post.cards) if post else None,
        telemetry=telemetry,
        steady=steady,
    )
    summary = summarize(records, facts, drawn)
    verdicts = judge(
        Evidence(
            summary,
            records,
            run,
            config.checks,
            before,
            after,
            result.host,
            result.clock,
            load,
            workload,
        )
    )
    judged = result.model_copy(update={"summary": summary, "verdicts": verdicts})
    return judged, asked if steady else None


def _check_records(folder: Path) -> None:
    try:
        names = pq.read_schema(folder / RECORDS).names
    except pa.ArrowInvalid:
        raise DamagedError(f"{RECORDS} is not a Parquet file: {_AGAIN}.") from None
    absent = set(REQUESTS.names) - set(names)
    if absent:
        raise DamagedError(f"{RECORDS} lacks the columns {', '.join(sorted(absent))}: {_AGAIN}.")


def _failure_message(path: Path) -> str:
    data = read_json(path)
    try:
        return Failure.model_validate(data).message
    except ValidationError:
        return f"It failed, and {FAILURE} doesn't say why."
