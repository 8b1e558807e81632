"""Everything that prompts and schedules are made of, gathered before the load, on rank 0."""

from __future__ import annotations

import json
from pathlib import Path

from mls.config.cells import Settings
from mls.config.sections.load import Load
from mls.core.errors import UserError
from mls.load.workload.builder import Materials, draw, make_prompts
from mls.load.workload.calibration import calibrate, least_tokens
from mls.load.workload.context_length import check_files
from mls.load.workload.datasets import draw_rows, read_dataset
from mls.load.workload.replay import check_same, read_earlier
from mls.load.workload.traces import Trace, read_trace
from mls.server.api import ServerApi

_LOOKED_AT = 10_000


def prepare(
    given: Settings, seed: int, results: Path, api: ServerApi, served_as: str | None
) -> Materials:
    """Read the files, and ask the server how it tokenizes. Raises `UserError`.

    results: the config's folder; what was learnt about a model's tokenizer is kept below it.
    """
    workload, run = given.workload, given.run
    trace = read_trace(given.load) if given.load.kind == "trace" else None
    _check_lengths(given, trace)
    calibration = rows = earlier = None
    notes = trace.notes if trace else ()
    if workload.kind == "replay":
        earlier = read_earlier(workload)
        workload, seed = earlier.workload, earlier.seed
    if workload.in_tokens:
        folder = results / "tokens"
        sha256 = (
            None if given.server.addresses else _model_sha256(results, str(given.cell["model"]))
        )
        calibration = calibrate(api, run, workload.system, served_as, folder, sha256)
        values = trace.prompt_tokens if trace else None
        jobs = range(min(given.requests or _LOOKED_AT, _LOOKED_AT))
        asked = [draw(workload.prompt_tokens, seed, job, "prompt", values) for job in jobs]
        prefix = workload.prefix_tokens if workload.kind == "shared_prefix" else 0
        least_tokens(calibration, [tokens - prefix for tokens in asked])
    if workload.kind == "dataset":
        count = len(trace.at_s) if trace and given.requests is None else given.requests
        if earlier:
            count = len(earlier.sha256)
        dataset = read_dataset(workload)
        rows = draw_rows(dataset, workload, seed, count, api.tokenize)
        notes += dataset.notes
    check_files(given, trace, rows, api)
    made = Materials(calibration, rows, trace, earlier, notes)
    if earlier:
        prompts = make_prompts(run, given.workload, seed, made)
        check_same(earlier, lambda job: prompts(job).text, given.requests)
    return made


def _check_lengths(given: Settings, trace: Trace | None) -> None:
    """Raise `UserError` when a length is to come from a trace that has none."""
    if trace is None:
        return
    load: Load = given.load
    for key in ("prompt_tokens", "output_tokens"):
        lengths, values = getattr(given.workload, key), getattr(trace, key)
        if lengths and lengths.distribution == "trace" and values is None:
            raise UserError(
                f"workload.{key}: {load.file} has no column to take the lengths from; "
                f"name it in load.columns.{key}."
            )


def _model_sha256(results: Path, model: str) -> str | None:
    try:
        found = json.loads((results / "models" / f"{model}.json").read_text()).get("sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
