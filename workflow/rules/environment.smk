# The run environment, and what it is.
import shutil
from subprocess import CalledProcessError

from mls.host.run_environment import PYTHON, RunEnvironment
from mls.model.files import read_json

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
HERE = ".snakemake/mls/environment-here"


def described_elsewhere():
    """Whether environment.json is there, and says what the environment is in another place."""
    described = read_json(Path(ENVIRONMENT))
    return described and Path(described["python"]["executable"]).parent != VENV.bin


def prepare_environment():
    """Before any job: have the run environment in this place, and environment.json describe that one.

    No rule that others depend on does this: Snakemake would run all of them again. For the same
    reason environment.json keeps its time.
    """
    if not VENV:
        return
    VENV.prepare()
    if described_elsewhere():
        anew = Path(f"{ENVIRONMENT}.anew")
        try:
            shell(f"{MLS} environment --config $MLS_CONFIG --output {quote(str(anew))}")
        except CalledProcessError as error:
            sys.exit(error.returncode)  # it has said why
        shutil.copystat(ENVIRONMENT, anew)
        anew.replace(ENVIRONMENT)


# With nothing else to do in a folder that was moved or copied, this is a job that lacks.
MOVED = (
    VENV is not None
    and Path(ENVIRONMENT).exists()
    and not (VENV.is_here() and not described_elsewhere())
)
if MOVED and workflow.is_main_process:
    Path(HERE).unlink(missing_ok=True)


rule environment_here:
    output:
        touch(HERE),
    localrule: True
    message:
        f"The run environment is in {ROOT}"


rule environment:
    output:
        ENVIRONMENT,
    log:
        f"{RESULTS}/logs/environment.log",
    conda:
        "../../environment.yml"
    params:
        environment=LOCKS_DIGEST,
        launcher=LAUNCHER,
        mls=MLS,
    message:
        f"Checking the run environment ({CONFIG.environment.manager})"
    shell:
        "exec {params.mls} environment --config $MLS_CONFIG --output {output:q} > {log:q} 2>&1"
