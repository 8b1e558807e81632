"""Reading results: one `Repeat` for each planned one, whether it has a result or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from mls.analysis.repeat.assess import Assessment, Observation, assess
from mls.analysis.repeat.hardware.cards import PostFacts
from mls.config.axes import Cell
from mls.config.cells import run_path
from mls.config.config import Config
from mls.config.sections.load import Load, recorded
from mls.config.sections.run import Run
from mls.config.sections.server import NO_SPECULATION
from mls.config.sections.workload import Workload
from mls.core.arrow import read_parquet
from mls.core.digest import file_sha256
from mls.core.files import read_json
from mls.core.integrity import DamagedError, intact_result
from mls.core.record import LATER_COLUMNS, REQUESTS
from mls.core.run_folder import FAILURE, RECORDS, RUN, TELEMETRY
from mls.core.run_result import Failure, RunResult, Template

_AGAIN = "delete its folder below runs, and it is measured again"


@dataclass(frozen=True)
class RepeatData:
    """The records of a repeat and their assessment.

    table: schema `REQUESTS`. telemetry: schema `TELEMETRY`, None when there is none.
    """

    table: pa.Table
    telemetry: pa.Table | None
    assessment: Assessment


@dataclass(frozen=True)
class Repeat:
    """One planned repeat. It has a `result` if and only if its status is `ok`."""

    cell: Cell
    number: int
    folder: Path
    status: Literal["ok", "failed", "missing"]
    message: str
    result: RunResult | None = None
    digest: str | None = None
    """SHA-256 of its `run.json`."""
    data: RepeatData | None = field(default=None, repr=False, compare=False)
    """None unless the status is `ok`. The data are large: release them soon (`slim`)."""

    def slim(self) -> Repeat:
        """The same repeat without its data."""
        return replace(self, data=None)


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
        data = _repeat_data(folder, result, config)
    except DamagedError as why:
        return Repeat(cell, number, folder, "failed", str(why))
    except OSError as error:
        message = f"{error.filename} can't be read ({error.strerror})."
        return Repeat(cell, number, folder, "failed", message)
    update = {"summary": data.assessment.summary, "verdicts": data.assessment.verdicts}
    result = result.model_copy(update=update)
    return Repeat(cell, number, folder, "ok", "", result, digest, data)


def _with_new_columns(records: pa.Table) -> pa.Table:
    """The records with null columns added for those that an earlier version didn't write."""
    for name in LATER_COLUMNS:
        if name not in records.column_names:
            kind = REQUESTS.field(name).type
            records = records.append_column(name, pa.nulls(records.num_rows, kind))
    return records


def _repeat_data(folder: Path, result: RunResult, config: Config) -> RepeatData:
    """The raw records, and their assessment by today's definitions and thresholds.

    A changed definition or threshold therefore needs no new measurement, and applies to all
    repeats.
    """
    records = _with_new_columns(read_parquet(folder / RECORDS))
    telemetry = read_parquet(folder / TELEMETRY) if TELEMETRY in result.files else None
    before, after = (result.server.get(when, {}).get("metrics") for when in ("before", "after"))
    client = result.summary.client
    post = result.summary.gpu.post if result.summary.gpu else None
    try:
        run = Run.model_validate(result.config.get("run"))
        load = Load.model_validate(recorded(result.config.get("load", {})))
        workload = Workload.model_validate(result.config.get("workload", {}))
        template = Template.model_validate(result.workload.get("template") or {})
    except ValidationError:
        raise DamagedError(f"{RUN} is corrupt (at `config` or `workload`): {_AGAIN}.") from None
    observation = Observation(
        table=records,
        run=run,
        load=load,
        workload=workload,
        clock=client.clock,
        per_rank=client.per_rank,
        metrics_before=before,
        metrics_after=after,
        host=result.host,
        clocks=result.clock,
        post=PostFacts(post.asked, post.work, post.reason, post.cards) if post else None,
        telemetry=telemetry,
        left_out=tuple(result.workload.get("left_out") or ()),
        canaries=result.canaries,
        speculation=(result.config.get("server") or {}).get("speculation", NO_SPECULATION),
        slots=(result.server.get("before") or {}).get("slots"),
        template=template,
    )
    return RepeatData(records, telemetry, assess(observation, config.checks))


def _check_records(folder: Path) -> None:
    try:
        names = pq.read_schema(folder / RECORDS).names
    except pa.ArrowInvalid:
        raise DamagedError(f"{RECORDS} is not a Parquet file: {_AGAIN}.") from None
    missing = set(REQUESTS.names) - set(names) - set(LATER_COLUMNS)
    if missing:
        raise DamagedError(f"{RECORDS} lacks the columns {', '.join(sorted(missing))}: {_AGAIN}.")


def _failure_message(path: Path) -> str:
    data = read_json(path)
    try:
        return Failure.model_validate(data).message
    except ValidationError:
        return f"It failed, and {FAILURE} doesn't say why."
