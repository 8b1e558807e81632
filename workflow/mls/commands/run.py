"""`mls run`: one rank of the load generator. `mpirun -n R python -m mpi4py -m mls.worker …`."""

from __future__ import annotations

import mmap
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from mpi4py import MPI

from mls.commands.progress import Progress
from mls.config.cells import parse_cell
from mls.config.config import Config
from mls.config.parse import load_config, parse_config
from mls.config.sections.run import STOPPING, Run
from mls.config.settings import settings
from mls.core.arrow import without_pandas
from mls.core.errors import UserError
from mls.core.run_folder import write_failure
from mls.core.units import MIB
from mls.host.launch.gate import pass_gate
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import raise_on_interrupt
from mls.host.stderr import tell
from mls.host.text import check_name, unencodable
from mls.load.mpi.collective import agreed, wait_all
from mls.load.rank import perform
from mls.load.spec import RunSpec

if TYPE_CHECKING:
    from mls.commands.control import Control

_MESSAGE_GRACE_S = 5
_RESERVE_BYTES = 32 * MIB
T = TypeVar("T")


def run(
    config: Annotated[
        Path | None, typer.Option(help="Config file: everything below is taken from it.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="With --config: axis=value, once for each axis.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="With --config: which repeat.")] = 1,
    server: Annotated[
        list[str] | None, typer.Option(envvar="MLS_SERVER", help="Root URL; once for each server.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for run.json and requests.parquet.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Path that is POSTed to.")] = None,
    iters: Annotated[int | None, typer.Option(help="Requests to send.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Requests of each place, one after another.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds, instead of these.")] = None,
    inflight: Annotated[int | None, typer.Option(help="Requests outstanding, all ranks.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Completion tokens asked for.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Requests before, kept out of it all.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the prompts.")] = None,
    stream: Annotated[bool | None, typer.Option(help="Ask for streamed replies.")] = None,
    transport: Annotated[str | None, typer.Option(help="epoll or requests.")] = None,
    dispatch: Annotated[str | None, typer.Option(help="auto, counter, messages or static.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Rank 0: auto, apart or works.")] = None,
    cuda_post: Annotated[
        bool | None, typer.Option(help="Work on each reply on the rank's card, or not.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name to send.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the API key.")
    ] = None,
) -> None:
    """Send load to a server, time every token, and print what came of it.

    Run it under mpirun: `mpirun -n 3 mls run --server URL --inflight 8`. Options given here
    replace the config's.
    """
    values = {
        "endpoint": endpoint,
        "iters": iters,
        "rounds": rounds,
        "duration_s": duration,
        "inflight": inflight,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "warmup": warmup,
        "stream": stream,
        "transport": transport,
        "dispatch": dispatch,
        "scheduler": scheduler,
        "cuda_post": cuda_post,
    }
    options = {key: value for key, value in values.items() if value is not None}
    with _Rank(output):
        die_with_parent()
        without_pandas()
        if output:
            check_name(output)
        plan = agreed(
            MPI.COMM_WORLD,
            lambda: _plan(config, cell or [], repeat, options, model, api_key_env, seed),
        )
        _perform(plan, server or [], output)


def main() -> None:
    """Entry point of `python -m mls.worker`."""
    typer.run(run)


class _Rank:
    """Turns an error on a rank into one sentence and an exit status of all ranks."""

    def __init__(self, output: Path | None) -> None:
        self._output = output
        # Address space only, as nothing is written to it
        self._reserve = mmap.mmap(-1, _RESERVE_BYTES)

    def __enter__(self) -> None:
        raise_on_interrupt()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError):
            # Raised on every rank, or by rank 0 after the others have ended their work
            if MPI.COMM_WORLD.rank == 0:
                tell(f"mls run: {error}")
                if self._output:
                    write_failure(self._output, str(error))
            else:  # The first exit ends all ranks: let rank 0 print its message before
                time.sleep(_MESSAGE_GRACE_S)
            raise typer.Exit(1)
        if error is not None and not isinstance(error, typer.Exit | SystemExit):
            try:
                self._tell(error)
            finally:
                MPI.COMM_WORLD.Abort(1)  # Else the other ranks would wait for this one for ever

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            tell("mls run: interrupted")
        elif isinstance(error, MemoryError):
            self._out_of_memory()
        elif isinstance(error, OSError):
            tell(f"mls run: {error.strerror or error}")
        elif isinstance(error, UnicodeEncodeError):
            tell(f"mls run: {unencodable(error)}")
        else:
            tell(traceback.format_exc())

    def _out_of_memory(self) -> None:
        self._reserve.close()  # The message takes some memory, too
        message = (
            f"Rank {MPI.COMM_WORLD.rank} ran out of memory (`ulimit -v`, or a limit of the batch "
            "system): raise the limit, send fewer requests in a repeat, or use more ranks."
        )
        tell(f"mls run: {message}")
        if self._output:
            write_failure(self._output, message)


class _Plan:
    """A repeat's config, settings and seed, by the options and the config file."""

    def __init__(self, config: Config, cell: dict[str, Any], repeat: int, seed: int | None) -> None:
        self.config = config
        self.settings = settings(config, cell, repeat)
        self.seed = self.settings.seed if seed is None else seed


def _plan(
    path: Path | None,
    cell: list[str],
    repeat: int,
    options: dict[str, Any],
    model: str | None,
    api_key_env: str | None,
    seed: int | None,
) -> _Plan:
    ranks = MPI.COMM_WORLD.size
    if path is None:
        data: dict[str, Any] = {"name": "run", "models": {"server": {"served_as": model}}}
        data["run"] = options | {"ranks": ranks}
        if api_key_env:
            data["server"] = {"api_key_env": api_key_env}
        config = parse_config(data)
        return _Plan(config, {"model": "server"} | _point(config.run), repeat, seed)
    config = load_config(path)
    point = parse_cell(config, cell)
    cell_axes = {*config.sweep, *([config.search.axis] if config.search else [])}
    conflicts = [key for key in options if key in cell_axes] + (["model"] if model else [])
    if conflicts:
        raise UserError(
            f"{conflicts[0]} is an axis of {path}: choose the cell, with --cell {conflicts[0]}=…, "
            "instead."
        )
    if options or api_key_env:
        run_keys = config.run.model_dump(exclude_unset=True)
        if not options.keys().isdisjoint(STOPPING):
            run_keys = {k: v for k, v in run_keys.items() if k not in STOPPING}
        data = config.model_dump(exclude_unset=True) | {"run": run_keys | options}
        if api_key_env:
            data["server"] = {**data.get("server", {}), "api_key_env": api_key_env}
        config = parse_config(data)
        point = parse_cell(
            config, [f"{axis}={value}" for axis, value in point.items() if axis in cell_axes]
        )
    plan = _Plan(config, point, repeat, seed)
    if plan.settings.run.ranks != ranks:
        raise UserError(
            f"run.ranks is {plan.settings.run.ranks}, but mpirun started {ranks}: "
            f"use `mpirun -n {plan.settings.run.ranks}`."
        )
    return plan


def _point(run: Run) -> dict[str, Any]:
    return {"inflight": run.inflight, "ranks": run.ranks}


def _perform(plan: _Plan, servers: list[str], output: Path | None) -> None:
    comm = MPI.COMM_WORLD
    control: Control | None = None

    if comm.rank == 0:
        from mls.commands.control import Control  # Half of a rank's imports
    if not agreed(comm, pass_gate):
        return  # Quietly: `mls serve` says why, and launchers have words for ranks that fail

    def specify() -> RunSpec:
        nonlocal control
        urls = servers or os.environ.get("MLS_SERVER", "").split()
        urls = urls or plan.settings.server.addresses or [""]
        control = Control(plan.config, plan.settings, plan.seed, urls, output)
        return control.spec()

    def ready() -> None:
        assert control
        control.before()

    spec = _from_rank0(comm, specify)
    with Progress(plan.settings.run, comm.rank == 0) as progress:
        harvest = perform(comm, spec, progress.update, ready, output)
    try:
        if harvest is not None and control:
            control.conclude(harvest)
    finally:
        wait_all(comm)  # At the end of MPI each rank would take a core until rank 0 is there


def _from_rank0(comm: MPI.Intracomm, ask: Callable[[], T]) -> T:
    """Rank 0's answer, on every rank. Raises rank 0's `UserError` on every rank."""
    answer: T | None = None
    problem = None
    if comm.rank == 0:
        try:
            answer = ask()
        except UserError as error:
            problem = str(error)
    wait_all(comm)  # Without load on the CPU: rank 0 may take a while
    message: tuple[T, str | None] = comm.bcast((answer, problem), root=0)
    result, problem = message
    if problem:
        raise UserError(problem)
    return result
