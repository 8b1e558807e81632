"""`mls cell`: all repeats of a cell, one after another, beside one process of its server."""

from __future__ import annotations

import os
from pathlib import Path

from mls.commands.serve import of_cell, record_end
from mls.config.cells import parse_cell, run_path
from mls.config.parse import load_config
from mls.core.errors import UserError
from mls.core.files import read_json, unwritable
from mls.core.run_folder import FAILURE, RUN, begin, clear, discard_kept, keep, write_failure
from mls.host.launch.programs import mpi_environment
from mls.host.usage.counters import SERVE_PID
from mls.server.engine.client import BY_SIGNAL
from mls.server.engine.managed import Shared, serve_several
from mls.server.engine.process import EndSignalError


def measure_cell(command: list[str], path: Path, cell: list[str], log: Path) -> int:
    """Run `command` once for each repeat of the cell, with `--repeat N --output FOLDER` after it.

    A repeat that fails leaves those before it as they are, and the next ones are measured as long
    as the server lives. log: the server's; each command's output goes to `repeat~N/run.log` beside
    it. Returns 0 when every repeat has a result, else the last failure's exit status. Raises
    `UserError`.
    """
    config = load_config(path)
    point = parse_cell(config, cell)
    folders = [
        Path(config.results) / "runs" / run_path(config, point, number)
        for number in range(1, config.least_repeats + 1)
    ]
    for folder in folders:
        clear(folder)
    begin(folders[0])
    os.environ.update(mpi_environment(" ".join(command)))
    os.environ[SERVE_PID] = str(os.getpid())
    try:
        server, file, alias, cpu_sets = of_cell(config, point)
        if not server.shared:
            raise UserError(
                "server.reuse: this cell has a process for each repeat; see `mls serve`."
            )
        with serve_several(server, file, alias, log, cpu_sets) as shared:
            return _measure(shared, command, folders, log.parent)
    except UserError as error:
        for folder in folders:
            if not (folder / RUN).exists():
                write_failure(folder, str(error))
        raise
    except EndSignalError as error:
        return BY_SIGNAL + error.sig


def _measure(shared: Shared, command: list[str], folders: list[Path], logs: Path) -> int:
    status = 0
    for number, folder in enumerate(folders, start=1):
        # The launcher's view goes by this line
        print(f"mls cell: repeat {number} of {len(folders)}", flush=True)
        status = _repeat(shared, command, number, folder, logs) or status
        failure = read_json(folder / FAILURE)
        if failure:
            print(f"mls cell: repeat {number}: {failure['message']}", flush=True)
        elif status or number < len(folders):  # Else nothing can fail any more
            keep(folder)
    if not status:
        for folder in folders:
            discard_kept(folder)
    return status


def _repeat(shared: Shared, command: list[str], number: int, folder: Path, logs: Path) -> int:
    begin(folder)
    if why := shared.why_it_died():
        sentence = f"Not measured: the server, which all repeats of this cell share, {why}."
        write_failure(folder, sentence)
        return 1
    log = logs / f"repeat~{number}" / "run.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as out:
            status = shared.run([*command, "--repeat", str(number), "--output", str(folder)], out)
    except OSError as error:
        raise unwritable(log, error) from None
    except EndSignalError as error:
        record_end(folder, BY_SIGNAL + error.sig)
        raise
    return record_end(folder, status)
