# One repeat of one cell: a fresh server (when managed), one mpirun, one folder of raw records and time series.


rule run:
    input:
        passed,
        environment=ENVIRONMENT,
        model=f"{RESULTS}/models/{{model}}.json",
    output:
        run=f"{RUNS}/run.json",
        requests=f"{RUNS}/requests.parquet",
    log:
        f"{RESULTS}/logs/{SPACE.wildcard_pattern}/run.log",
    benchmark:
        f"{RESULTS}/logs/{SPACE.wildcard_pattern}/benchmark.tsv"
    priority: run_priority
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        # one rank on this host needs no launcher, and Slurm's executor refuses MPI with one task
        mpi=lambda wildcards: (
            LAUNCHER if int(wildcards.ranks) > 1 or CONFIG.mpi.hosts else ""
        ),
        tasks=lambda wildcards: int(wildcards.ranks),
        server=1,
    params:
        # Snakemake doesn't see an installed package, nor what a cell's settings come from
        settings=settings_digest,
        source=sources_sha256(
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
            "commands/outcome.py",
        ),
        environment=LOCKS_DIGEST,
        cell=cell_options,
        launch=lambda wildcards, resources: (
            f"{resources.mpi} -n {resources.tasks}" if resources.mpi else ""
        ),
        folder=subpath(output.run, parent=True),
        mls=MLS,
    message:
        f"Measuring {' '.join(f'{axis} {{wildcards.{axis}}}' for axis in AXES)}, repeat {{wildcards.repeat}}"
    shell:
        "exec {params.mls} serve --at-once --die-with-parent --config $MLS_CONFIG {params.cell:q}"
        " --repeat {wildcards.repeat} --output {params.folder:q} --log {log:q}.server"
        " -- {params.launch} python -m mpi4py -m mls.worker --config $MLS_CONFIG"
        " {params.cell:q} --repeat {wildcards.repeat} --output {params.folder:q} > {log:q} 2>&1"
