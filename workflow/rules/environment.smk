# The run environment, and what it is.
HERE = ".snakemake/mls/environment-here"
# With nothing else to do in a folder that was moved or copied, this is a job that lacks.
MOVED = (
    VENV is not None
    and Path(ENVIRONMENT).exists()
    and not (VENV.is_here() and VENV.is_described(Path(ENVIRONMENT)))
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
