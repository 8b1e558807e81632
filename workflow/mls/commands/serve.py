"""`mls serve`: the config's server, or a bare model file's, and a command beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mls.config.axes import Cell
from mls.config.cells import cells, parse_cell
from mls.config.config import Config
from mls.config.parse import load_config
from mls.config.sections.server import Server
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.core.run_folder import RUN, begin, end, write_failure
from mls.host.address import reachable_address
from mls.host.launch.launchers import hosts
from mls.host.launch.programs import mpi_environment, one_host
from mls.host.pinning import NOT_PINNED, CpuSets, choose
from mls.host.usage.counters import SERVE_PID
from mls.server.engine.managed import serve
from mls.server.weights.description import load_descriptor


def serve_for(
    command: list[str],
    config: Path | None,
    cell: list[str],
    repeat: int,
    model: str | None,
    log: Path | None,
    output: Path | None,
    *,
    at_once: bool = False,
) -> int:
    """Run `command` beside the server that the options describe. Returns the command's exit status.

    output: the run's folder, for a record of a failure. at_once: start the command while the server
    loads; it waits at the gate. Where a launcher may start its processes on other hosts, which have
    no gate, it is started when the server is ready. Raises `UserError`.
    """
    if output:
        begin(output)
    words = " ".join(command)
    os.environ.update(mpi_environment(words))
    os.environ[SERVE_PID] = str(os.getpid())
    try:
        server, file, alias, cpu_sets = _what_to_serve(config, cell, repeat, model)
        log = log or Path("server.log" if server.engine == "command" else "llama-server.log")
        here = at_once and one_host(words, os.environ)
        status = serve(server, file, alias, command, log, pinned=cpu_sets, at_once=here)
    except UserError as error:
        if output:
            write_failure(output, str(error))
        raise
    return record_end(output, status) if output else status


def record_end(output: Path, status: int) -> int:
    """Record the end of a run with this exit status in its folder. Returns the status of `mls`."""
    if not status and not (output / RUN).exists():
        # Open MPI does so after the loss of a host
        end(output, "The launcher reported success, but there is no result; see the log.")
        return 1
    end(output, _why_it_failed(status))
    return status


def _why_it_failed(status: int) -> str | None:
    """The message about a run with this exit status; None for success."""
    if not status:
        return None
    if status in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return "The run was interrupted; its log says more."
    if status in (signal.SIGKILL, 128 + signal.SIGKILL):  # By MPICH's mpirun, and others
        return (
            "A process of the run was killed (SIGKILL), as the kernel does when memory runs out "
            "(`dmesg` tells); its log says more."
        )
    return f"The run ended with exit status {status}; its log says more."


def _what_to_serve(
    path: Path | None, cell: list[str], repeat: int, model: str | None
) -> tuple[Server, Path | None, str, CpuSets]:
    """(server, model file, the model's name, CPUs of server and ranks). Raises `UserError`."""
    if path is None:
        if model is None:
            raise UserError("Give --model FILE, or --config with --cell.")
        from mls.server.weights.gguf import check_gguf  # The workflow's models are checked

        return Server(), check_gguf(Path(model)), Path(model).stem, NOT_PINNED
    config = load_config(path)
    return of_cell(config, parse_cell(config, cell) if cell else cells(config)[0], repeat)


def of_cell(
    config: Config, point: Cell, repeat: int = 1
) -> tuple[Server, Path | None, str, CpuSets]:
    """(server, model file, the model's name, CPUs of server and ranks). Raises `UserError`."""
    point_settings = settings(config, point, repeat)
    name = str(point["model"])
    ranks_here = -(-point_settings.run.ranks // max(1, len(hosts(config.mpi))))
    cpu_sets = choose(config.pin, ranks_here, managed=not point_settings.server.addresses)
    server = _reachable(config, point_settings.server)
    if server.addresses:
        return server, None, point_settings.served_as or name, cpu_sets
    models = Path(config.results) / "models"
    if server.draft:  # by its file from here on
        draft = load_descriptor(models / f"{server.draft}.json")
        server = server.model_copy(update={"draft_model": draft.path})
    descriptor = load_descriptor(models / f"{name}.json")
    return server, Path(descriptor.path), point_settings.served_as or name, cpu_sets


def _reachable(config: Config, server: Server) -> Server:
    """The server with a listening address that the ranks' hosts reach. Raises `UserError`."""
    names = hosts(config.mpi)
    if not names:
        return server
    address = reachable_address(names[0], "mpi.hostfile" if config.mpi.hostfile else "mpi.hosts")
    return server if server.host else server.model_copy(update={"host": address})
