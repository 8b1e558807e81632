"""Results from a folder or an archive, without the config file that they were measured by."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mls.analysis.study import Study, read_study
from mls.config.axes import Cell, cell_key
from mls.config.decisions import PLAN, Runs
from mls.config.parse import load_config, parse_config
from mls.core.errors import UserError
from mls.core.files import read_json
from mls.core.run_folder import RUN

CONFIG = "config.json"
SWEEP = "name~"


@dataclass(frozen=True)
class Results:
    """One sweep's results. name: the path from the user. folder: valid within `opened`."""

    name: str
    folder: Path
    study: Study


@contextmanager
def opened(path: Path) -> Iterator[Results]:
    """The results in a folder with `runs`, in one sweep's folder in it, or in an archive.

    An archive is unpacked while the context lasts. `mls verify` checks it; this doesn't.
    Raises `UserError` when there are no results, or several sweeps.
    """
    if path.is_dir():
        one = path.name.startswith(SWEEP)
        root = path.parent.parent if one else path
        yield _results(path, root, path.name if one else f"{SWEEP}*")
        return
    with TemporaryDirectory(prefix="mls-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        except OSError as error:
            raise UserError(
                f"{path} can't be read ({error.strerror or error}): expected a folder of results "
                "or an archive."
            ) from None
        except zipfile.BadZipFile:
            raise UserError(f"{path} is neither a folder of results nor a zip archive.") from None
        yield _results(path, Path(folder), f"{SWEEP}*")


def _results(path: Path, folder: Path, pattern: str) -> Results:
    """The results by the archived config, else by a config made from the cells of the runs."""
    name = str(path)
    if (folder / CONFIG).is_file():
        return Results(name, folder, read_study(load_config(folder / CONFIG), folder))
    sweeps = sorted((folder / "runs").glob(pattern))
    if not sweeps:
        raise UserError(f"{name} holds no results: expected a folder `runs`, as in `results`.")
    if len(sweeps) > 1:
        names = ", ".join(sweep.name.partition("~")[2] for sweep in sweeps)
        raise UserError(
            f"{name} holds several sweeps ({names}): give the folder of one, such as {sweeps[0]}."
        )
    contents = [read_json(path) for path in sorted(sweeps[0].rglob(RUN))]
    runs = [run for run in contents if isinstance(run, dict) and isinstance(run.get("cell"), dict)]
    if not runs:
        raise UserError(f"{name} holds no finished run: there is no {RUN} in {sweeps[0]}.")
    config = parse_config(_as_config(sweeps[0].name.partition("~")[2], runs))
    # where results decided, cells differ in repeats, and not all combinations were measured
    is_adaptive = (folder / PLAN / sweeps[0].name).is_dir()
    return Results(
        name, folder, read_study(config, folder, _as_runs(runs) if is_adaptive else None)
    )


def _as_runs(runs: list[dict[str, Any]]) -> Runs:
    by_cell: dict[str, tuple[Cell, list[int]]] = {}
    for run in runs:
        cell = run["cell"]
        by_cell.setdefault(cell_key(cell), (cell, []))[1].append(int(run.get("repeat", 1)))
    ordered = sorted(by_cell.values(), key=lambda each: float(each[0].get("rate", 0)))
    ordered.sort(key=lambda each: int(each[0]["inflight"]))
    return [(cell, sorted(numbers)) for cell, numbers in ordered]


def _as_config(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    sweep: dict[str, list[Any]] = {}
    for run in runs:
        for axis, value in run["cell"].items():
            values = sweep.setdefault(axis, [])
            if value not in values:
                values.append(value)
    for values in sweep.values():
        if all(isinstance(value, int | float) for value in values):
            values.sort()
    settings = runs[0].get("config", {}).get("run", {})
    return {
        "name": name,
        "models": {str(model): {} for model in sweep["model"]},
        "run": {key: value for key, value in settings.items() if key not in sweep},
        "sweep": sweep,
        "repeats": max(int(run.get("repeat", 1)) for run in runs),
    }
