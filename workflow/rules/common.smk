# What all rules share: the validated config, its cells as a Paramspace, and how `mls` is called.
import os
import re
import shutil
import signal
import sys
from functools import cache
from pathlib import Path
from shlex import quote
from subprocess import CalledProcessError

import pandas as pd
from snakemake.logging import logger
from snakemake.utils import Paramspace

ROOT = (
    Path(workflow.basedir).parent
    if Path(workflow.basedir).name == "workflow"
    else Path(workflow.basedir)
).resolve()
sys.path.insert(0, str(ROOT / "workflow"))

from launcher.failures import END, Failures
from launcher.failures import SWEEP as SWEEP_RECORD
from launcher.so_far import PageSoFar
from launcher.sweep import Sweep
from mls.host.launch.launchers import command, hosts
from mls.host.lock import only_one
from mls.host.run_environment import PYTHON, RunEnvironment
from mls.host.processes.signals import handle_in_thread
from mls.core.digest import KeptDigests, data_sha256, file_sha256, sources_sha256
from mls.core.errors import UserError
from mls.core.files import check_writable, write, write_json
from mls.core.integrity import set_aside_damaged
from mls.core.run_folder import RUN, restore_kept
from mls.core.sweep_folder import ANSWER, PAGE, has_runs, sweep_folder
from mls.config.decisions import adaptive, line_of, planned_runs, repeats_of
from mls.config.axes import axes, cell_key
from mls.config.cells import cells, parse_cell, run_order, run_path
from mls.config.settings import settings
from mls.config.owner import check_owner, record_owner
from mls.config.parse import parse_config
from mls.server.weights.model_files import local_sha256
from mls.server.weights.named_files import named_files

# Containers often set it: each job would compile again all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

try:
    CONFIG = parse_config(config)
    CELLS = cells(CONFIG)
    settings(CONFIG, CELLS[0], 1).files  # they are there
    LAUNCHER = command(CONFIG.mpi)
    CONFIG_FILE = Path([*workflow.overwrite_configfiles, "config/config.yaml"][0])
    if CONFIG_FILE.is_relative_to(Path.cwd()):  # the folder may be moved
        CONFIG_FILE = CONFIG_FILE.relative_to(Path.cwd())
    check_owner(CONFIG, CONFIG_FILE)
except UserError as error:
    # not a WorkflowError, which goes on with lines about this file
    sys.exit(f"Config: {error}")

RESULTS = CONFIG.results
SWEEP = str(sweep_folder(Path(RESULTS), CONFIG.name))
LATEST = ["summary.csv", "cells.csv", "summary.parquet", "cells.parquet", "report.html"]
# Neither a rule's output nor a param: what depends on the config says so in params of its own.
CONFIG_JSON = f".snakemake/mls/config-{data_sha256(config)[:16]}.json"
# of files that the config names, large ones among them
DIGESTS = KeptDigests(Path(".snakemake/mls/digests.json"))
ENVIRONMENT = f"{RESULTS}/environment/environment.json"
LOCKS = (
    [ROOT / "environment.yml"]
    if CONFIG.environment.manager == "conda"
    else [
        ROOT / "requirements" / f"{name}.txt"
        for name in ["run", *CONFIG.environment.extras]
    ]
)
# `.venv-run`; of the other managers' environments nothing is known here
VENV = (
    RunEnvironment(ROOT, tuple(LOCKS)) if CONFIG.environment.manager == "uv" else None
)
LOCKS_DIGEST = data_sha256(
    [
        CONFIG.environment.model_dump(),
        *map(file_sha256, LOCKS),
        PYTHON if VENV else None,
    ]
)
AXES = axes(CONFIG)
SPACE = Paramspace(
    pd.DataFrame(
        [
            {"name": CONFIG.name} | cell | {"repeat": repeat}
            for cell in CELLS
            for repeat in range(1, CONFIG.least_repeats + 1)
        ],
        dtype=object,
    )
)
RUNS = f"{RESULTS}/runs/{SPACE.wildcard_pattern}"
# of all repeats of a cell; models whose repeats share a process of the server
CELL = str(Path(SPACE.wildcard_pattern).parent)
SHARED = [
    name
    for name in CONFIG.models
    if any(
        settings(CONFIG, cell, 1).server.shared
        for cell in CELLS
        if cell["model"] == name
    )
]
ORDER = {run: place for place, run in enumerate(reversed(run_order(CONFIG)), start=1)}
# by the key of a line (a chain of decisions): the cell that it begins with
LINES = {cell_key(line_of(CONFIG, cell)): cell for cell in CELLS}
MODELS = list(dict.fromkeys(cell["model"] for cell in CELLS))

FAILURES = Failures()
logger.addHandler(FAILURES)

try:
    if not Path(CONFIG_JSON).exists():
        write_json(Path(CONFIG_JSON), config)
    if workflow.is_main_process:  # a job on another node reads this file, too
        folders = {
            Path(RESULTS, "runs", run_path(CONFIG, cell, repeat)): (cell, repeat)
            for cell, repeats in planned_runs(CONFIG, Path(RESULTS))
            for repeat in repeats
        }
        for damaged in set_aside_damaged([*folders]):
            print(damaged, file=sys.stderr)
        # what a view shows, and what is said in the end; without a view, an empty line in the log
        sweep = Sweep(
            CONFIG.name, Path(SWEEP, PAGE), Path(RESULTS, PAGE), Path(SWEEP, ANSWER)
        )
        for folder, (cell, repeat) in folders.items():
            sweep.add(cell, repeat, folder)
        logger.info("", extra={SWEEP_RECORD: sweep})
except UserError as error:
    sys.exit(str(error))


def one_of(models):
    """The pattern of these models' names."""
    return "|".join(map(re.escape, models)) or "(?!)"


wildcard_constraints:
    model=one_of(CONFIG.models),
    name="[A-Za-z0-9._-]+",
    repeat="[0-9]+",


onstart:
    # Snakemake's scheduler locks in its handler what it may hold at that moment
    handle_in_thread(signal.SIGTERM)
    # Snakemake's own lock, switched off in the profile, outlives a process that was killed
    try:
        only_one(Path(".snakemake", "mls", "lock"))
        check_writable(Path(RESULTS))
        record_owner(CONFIG, CONFIG_FILE)
        if VENV:
            prepare_environment()
    except UserError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


# a command that is still being loaded when this process is killed can tell by its id
EXPORTED = f"export MLS_CONFIG={CONFIG_JSON} MLS_LAUNCHER_PID={os.getpid()}"
# how `mls` is called, without a word of where: the text is a param of every rule
if VENV:
    MLS = '"$MLS_BIN"/mls'
    # mpirun and python of the run environment come before any others
    MLS_BIN = quote(str(VENV.bin))
    PREFIX = f"{EXPORTED} MLS_BIN={MLS_BIN} PATH={MLS_BIN}:$PATH; "
else:
    MLS = "python -m mls"
    PREFIX = f"{EXPORTED} PYTHONPATH={quote(str(ROOT / 'workflow'))}; "
shell.prefix(PREFIX)


def prepare_environment():
    """Before any job: have `.venv-run` in this place, and environment.json say what it is here.

    A job that others depend on can't do this, as Snakemake would run all of them again. For the
    same reason environment.json keeps its time.
    """
    VENV.prepare()
    described = Path(ENVIRONMENT)
    if not described.exists() or VENV.is_described(described):
        return
    anew = described.with_name("environment.anew.json")
    try:
        shell(f"{MLS} environment --config $MLS_CONFIG --output {quote(str(anew))}")
    except CalledProcessError as error:
        sys.exit(error.returncode)  # it has said why
    shutil.copystat(described, anew)
    anew.replace(described)


def cell_of(wildcards):
    """The config's cell that a run's wildcards name."""
    if CONFIG.search:
        return parse_cell(CONFIG, [f"{axis}={wildcards[axis]}" for axis in AXES])
    return next(
        cell
        for cell in CELLS
        if all(str(cell[axis]) == wildcards[axis] for axis in AXES)
    )


def passed(wildcards):
    """No file, once the server of a run's model has passed its probe; the run isn't started before.

    The probe is a checkpoint for this. As an input it would make runs stale whenever it is made
    anew, and behind `ancient()` Snakemake doesn't look at changed params. A dry run says what would
    be measured if all probes pass, and a job on another node was started because its own did.
    """
    if workflow.is_main_process and not workflow.dryrun:
        checkpoints.probe.get(model=wildcards.model)
    return []


def run_priority(wildcards):
    """Higher for what is to be measured earlier: repeats are interleaved over cells.

    Repeats that share a process all come with the first of them.
    """
    first = LINES[cell_key(line_of(CONFIG, cell_of(wildcards)))]
    return ORDER[cell_key(first), repeat_of(wildcards)]


def repeat_of(wildcards):
    """The number of a run's repeat; of a whole cell's run, that of the first."""
    return int(wildcards.get("repeat", 1))


def mpi(wildcards):
    """The launcher. One rank on this host needs none, and Slurm's executor refuses MPI with one task."""
    return LAUNCHER if int(wildcards.ranks) > 1 or CONFIG.mpi.hosts else ""


def launch(wildcards, resources):
    """The words before a rank's own; none without a launcher."""
    return f"{resources.mpi} -n {resources.tasks}" if resources.mpi else ""


def cell_options(wildcards):
    """The cell as options of `mls`."""
    return [
        option for axis in AXES for option in ("--cell", f"{axis}={wildcards[axis]}")
    ]


def model_digest(name):
    """What a model's file depends on."""
    return data_sha256(CONFIG.models[name].model_dump(exclude={"server", "served_as"}))


@cache
def local_files(name):
    """A local model's bytes: others under the same name are measured anew."""
    path = CONFIG.models[name].path
    if not path or urls_of(name):
        return []
    return local_sha256(path, Path(RESULTS, "models", f"{name}.json"))


def drafts_of(model):
    """The models that draft for one model in any of its cells."""
    return sorted({draft for s in settings_of(model) if (draft := s.server.draft)})


def with_drafts(models):
    """These models, and those that draft for them."""
    return list(
        dict.fromkeys(m for model in models for m in [model, *drafts_of(model)])
    )


def draft_of(wildcards):
    """The description of the model that drafts in a run; none without one."""
    draft = settings(CONFIG, cell_of(wildcards), repeat_of(wildcards)).server.draft
    return [f"{RESULTS}/models/{draft}.json"] if draft else []


def settings_of(model):
    """The settings of all cells of one model."""
    return [settings(CONFIG, cell, 1) for cell in CELLS if cell["model"] == model]


def settings_digest(wildcards):
    """What a run's figures depend on: change it, and the run is measured again.

    A whole cell depends on that of its first repeat, from which the others follow.
    """
    resolved = settings(CONFIG, cell_of(wildcards), repeat_of(wildcards))
    return data_sha256(
        [
            resolved.seed,
            resolved.served_as,
            model_digest(wildcards.model),
            resolved.server.draft and model_digest(resolved.server.draft),
            CONFIG.pin.model_dump(),
            resolved.server.model_dump(),
            resolved.run.model_dump(),
            resolved.load.model_dump(),
            resolved.workload.model_dump(),
            resolved.replies.model_dump(),
            hosts(CONFIG.mpi),
            DIGESTS.of(
                [
                    *(path for path in resolved.files if path.is_file()),
                    *named_files(resolved.server),
                ]
            ),
        ]
    )


def urls_of(model):
    """The servers that a model is already running on; none when they are ours to start."""
    return sorted({url for s in settings_of(model) for url in s.server.addresses})


def probe_digest(model):
    """What a probe's answer depends on."""
    return data_sha256(
        [
            *map(model_digest, with_drafts([model])),
            [
                [
                    s.served_as,
                    s.server.model_dump(),
                    s.run.model_dump(),
                    s.workload.model_dump(),
                    *DIGESTS.of(named_files(s.server)),
                ]
                for s in settings_of(model)
            ],
        ]
    )


def baseline_digest():
    """What the page compares with: changed results there make it stale."""
    if CONFIG.baseline is None:
        return None
    baseline = Path(CONFIG.baseline)
    found = (
        [baseline] if baseline.is_file() else sorted(baseline.glob("runs/**/run.json"))
    )
    return data_sha256([CONFIG.baseline, [[str(f), file_sha256(f)] for f in found]])
