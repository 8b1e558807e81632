# What is measured: a fresh server (when managed) and one mpirun for each repeat, or one server for a cell.
#
# A run is one folder of raw records and time series.

# Snakemake doesn't see an installed package
SOURCES = (
    "core",
    "config",
    "gpu",
    "host",
    "protocol",
    "server",
    "load",
    "worker.py",
    "commands/serve.py",
    "commands/run.py",
    "commands/control.py",
    "commands/outcome.py",
)
CELL_WORDS = " ".join(f"{axis} {{wildcards.{axis}}}" for axis in AXES)


rule run:
    input:
        passed,
        environment=ENVIRONMENT,
        model=f"{RESULTS}/models/{{model}}.json",
        draft=draft_of,
    output:
        run=f"{RUNS}/run.json",
        requests=f"{RUNS}/requests.parquet",
    log:
        f"{RESULTS}/logs/{SPACE.wildcard_pattern}/run.log",
    benchmark:
        f"{RESULTS}/logs/{SPACE.wildcard_pattern}/benchmark.tsv"
    wildcard_constraints:
        model=one_of(name for name in CONFIG.models if name not in SHARED),
    priority: run_priority
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        mpi=mpi,
        tasks=lambda wildcards: int(wildcards.ranks),
        server=1,
    params:
        # nor what a cell's settings come from
        settings=settings_digest,
        source=sources_sha256(*SOURCES),
        environment=LOCKS_DIGEST,
        cell=cell_options,
        launch=launch,
        folder=subpath(output.run, parent=True),
        mls=MLS,
    message:
        f"Measuring {CELL_WORDS}, repeat {{wildcards.repeat}}"
    shell:
        "exec {params.mls} serve --at-once --die-with-parent --config $MLS_CONFIG {params.cell:q}"
        " --repeat {wildcards.repeat} --output {params.folder:q} --log {log:q}.server"
        " -- {params.launch} python -m mpi4py -m mls.worker --config $MLS_CONFIG"
        " {params.cell:q} --repeat {wildcards.repeat} --output {params.folder:q} > {log:q} 2>&1"


rule cell:
    input:
        passed,
        environment=ENVIRONMENT,
        model=f"{RESULTS}/models/{{model}}.json",
        draft=draft_of,
    output:
        [
            f"{RESULTS}/runs/{CELL}/repeat~{repeat}/{name}"
            for repeat in range(1, CONFIG.least_repeats + 1)
            for name in RUN_FILES
        ],
    log:
        f"{RESULTS}/logs/{CELL}/cell.log",
    benchmark:
        f"{RESULTS}/logs/{CELL}/benchmark.tsv"
    wildcard_constraints:
        model=one_of(SHARED),
    priority: run_priority
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        mpi=mpi,
        tasks=lambda wildcards: int(wildcards.ranks),
        server=1,
    params:
        settings=settings_digest,
        source=sources_sha256(*SOURCES, "commands/cell.py"),
        environment=LOCKS_DIGEST,
        cell=cell_options,
        launch=launch,
        mls=MLS,
    message:
        f"Measuring {CELL_WORDS}, all repeats"
    shell:
        "exec {params.mls} cell --die-with-parent --config $MLS_CONFIG {params.cell:q}"
        " --log {log:q}.server -- {params.launch} python -m mpi4py -m mls.worker"
        " --config $MLS_CONFIG {params.cell:q} > {log:q} 2>&1"
