"""The sweeps on a card, through the pipeline's own commands, without Snakemake.

`python -m benchmarks.gpu.sweep --until S --output FOLDER`: each config's environment, models,
probe and runs, all first repeats before any second one, until S seconds are over; then its
tables, page and archive. Runs that are not measured by then are missing in the tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mls.config.axes import Cell
from mls.config.cells import cells, run_path
from mls.config.config import Config
from mls.config.parse import load_config
from mls.core.run_folder import RUN
from mls.gpu.inventory import visible_cards

HERE = Path(__file__).parent
CONFIGS = ("inflight", "ranks", "interference", "gemma", "kv", "profile")
"""On the first card alone."""
ON_ALL_CARDS = ("cards", "policy", "split")
"""Only where there are several."""
MLS = (sys.executable, "-m", "mls")
RUN_LIMIT_S = 120


def prepare(path: Path, config: Config) -> None:
    """Environment, models and probes. Raises `CalledProcessError`."""
    env = cards_of(path)
    results = Path(config.results)
    environment = results / "environment" / "environment.json"
    call("environment", "--config", path, "--output", environment, env=env)
    for model in config.models:
        model_file = results / "models" / f"{model}.json"
        call("model", model, "--config", path, "--output", model_file, env=env)
        probe = results / "probe" / f"{model}.json"
        inner = (*MLS, "probe", "--config", path, "--model", model, "--output", probe)
        log = results / "logs" / f"probe-{model}.server"
        cell = f"model={model}"
        call("serve", "--config", path, "--cell", cell, "--log", log, "--", *inner, env=env)


def cards_of(path: Path) -> dict[str, str]:
    """The environment in which a config's processes see the cards that they are to use."""
    return {**os.environ, **({} if path.stem in ON_ALL_CARDS else {"CUDA_VISIBLE_DEVICES": "0"})}


def plan(configs: dict[Path, Config]) -> Iterator[tuple[Path, Config, Cell, int]]:
    """All runs: first repeats first, and for each repeat the configs in turn."""
    for repeat in range(1, max(config.repeats for config in configs.values()) + 1):
        for path, config in configs.items():
            if repeat <= config.repeats:
                for cell in cells(config):
                    yield path, config, cell, repeat


def measure(path: Path, config: Config, cell: Cell, repeat: int) -> bool:
    """Measure one run, as the rule `run` does; returns whether it has a result."""
    where = run_path(config, cell, repeat)
    folder = Path(config.results) / "runs" / where
    log = Path(config.results) / "logs" / where / "run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    cell_options = [
        option for axis, value in cell.items() for option in ("--cell", f"{axis}={value}")
    ]
    common = ("--config", path, *cell_options, "--repeat", repeat, "--output", folder)
    launch = (*config.mpi.launcher.split(), "-n", cell["ranks"])
    worker = (sys.executable, "-m", "mpi4py", "-m", "mls.worker", *common)
    command = (*MLS, "serve", *common, "--log", f"{log}.server", "--", *launch, *worker)
    with log.open("w") as out:
        try:
            subprocess.run(
                [str(word) for word in command],
                stdout=out,
                stderr=out,
                timeout=RUN_LIMIT_S,
                env=cards_of(path),
            )
        except subprocess.TimeoutExpired:
            print(f"{where}: not over after {RUN_LIMIT_S} s", flush=True)
    return (folder / "run.json").exists()


def call(*words: object, env: dict[str, str] | None = None) -> None:
    """`mls …`. Raises `CalledProcessError`."""
    subprocess.run([*MLS, *map(str, words)], check=True, env=env)


def main() -> int:
    """Exit status 1 when a run failed or a config could not be prepared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--until", type=float, required=True, help="seconds from now")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--configs", type=Path, nargs="+", help="default: those beside this file")
    options = parser.parse_args()
    limit = time.monotonic() + options.until
    names = (*ON_ALL_CARDS, *CONFIGS) if len(visible_cards()) > 1 else CONFIGS
    paths = options.configs or [HERE / f"{name}.yaml" for name in names]
    configs: dict[Path, Config] = {}
    for path in paths:
        try:
            prepare(path, load_config(path))
            configs[path] = load_config(path)
        except subprocess.CalledProcessError as error:
            print(f"{path}: {error}", flush=True)
    successes = missing = 0
    for path, config, cell, repeat in plan(configs) if configs else ():
        if time.monotonic() > limit:
            missing += 1
        else:
            good = measure(path, config, cell, repeat)
            successes += good
            print(f"{'ok  ' if good else 'FAIL'} {run_path(config, cell, repeat)}", flush=True)
            missing += not good
    for path, config in configs.items():
        call("aggregate", "--config", path)
        call("report", "--config", path)
        if any(Path(config.results, "runs").rglob(RUN)):  # there is no archive of no runs
            call("archive", "--partial", "--config", path)
        keep(config, options.output / config.name)
    print(f"{successes} runs measured, {missing} not", flush=True)
    return 1 if missing or len(configs) < len(paths) else 0


def keep(config: Config, folder: Path) -> None:
    """Copy the small results: tables, page, environment, archive."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "cells.csv", "summary.csv", "environment/environment.json"):
        source = Path(config.results) / name
        (folder / source.name).write_bytes(source.read_bytes())
    for archive in (Path(config.results) / "archive").glob("*.zip"):
        (folder / archive.name).write_bytes(archive.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
