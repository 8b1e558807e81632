"""The further workloads, one after another on one server of an engine, and where their results are."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.engines.calls import BY_ITSELF, execute, mls, write
from tests.engines.catalogue import Engine
from tests.engines.environments import BUILD
from tests.engines.models import MODEL, describe, model_of
from tests.engines.pipeline import server_section
from tests.engines.workloads import Workload


def measure(
    engine: Engine, programs: Path, workloads: Iterable[Workload], small: bool
) -> dict[str, Path]:
    """Measure the workloads by the load generator alone. Returns each one's folder of results.

    small: with the engine's cache as small as it gets. Raises `MissingError` where one has no result.
    """
    folder = BUILD / "runs" / f"{engine.name}-{'small' if small else 'cache'}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = {
        "models": {MODEL: {"path": str(model_of(engine, programs))}},
        "server": _server(engine, programs, small),
        "results": str(folder / "results"),
    }
    outputs, commands = {}, []
    for seed, workload in enumerate(workloads, 1):
        # prompts of one workload are none of another's, in a cache that all of them meet
        config = write(
            folder / f"{workload.name}.yaml", base | {"seed": seed} | workload.config(folder)
        )
        outputs[workload.name] = folder / workload.name
        rank = (sys.executable, "-m", "mpi4py", "-m", "mls.worker", "--config", str(config))
        commands.append(
            shlex.join(["mpirun", "-n", "1", *rank, "--output", str(folder / workload.name)])
        )
    describe(config, folder / "results")
    serve = mls("serve", "--config", str(config), "--log", str(folder / "server.log"), "--")
    execute([*BY_ITSELF, *serve, "sh", "-ec", "\n".join(commands)], folder / "log")
    return outputs


def _server(engine: Engine, programs: Path, small: bool) -> dict[str, Any]:
    """`server` of the config of an engine with a cache."""
    cache = engine.cache
    assert cache
    section = server_section(engine, programs)
    section["command"] += [*cache.says, *(cache.small if small else ())]
    if small and cache.small_parallel:
        section["parallel"] = cache.small_parallel
    return section
