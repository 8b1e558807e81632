# The run environment, and what it is.
LOCKS = [
    f"{ROOT}/requirements/{name}.txt" for name in ["run", *CONFIG.environment.extras]
]
LOCKS_DIGEST = data_sha256(
    [CONFIG.environment.model_dump(), *map(file_sha256, map(Path, LOCKS))]
)

BUILD = (
    "{params.python:q} {input.build:q} --built {output.built:q} {input.locks:q} -- "
    if CONFIG.environment.manager == "uv"
    else ""
)


rule environment:
    input:
        locks=LOCKS,
        build=f"{ROOT}/workflow/scripts/build_environment.py",
    output:
        described=ENVIRONMENT,
        built=[".venv-run/built.json"] if CONFIG.environment.manager == "uv" else [],
    log:
        f"{RESULTS}/logs/environment.log",
    conda:
        "../../environment.yml"
    params:
        environment=LOCKS_DIGEST,
        launcher=LAUNCHER,
        python=sys.executable,
        mls=MLS,
    message:
        f"Building the run environment ({CONFIG.environment.manager}) and checking it"
    shell:
        "exec "
        + BUILD
        + "{params.mls} environment --config $MLS_CONFIG --output {output.described:q}"
        " > {log:q} 2>&1"
