# Model files, and the question whether the server is right before anything is measured.


rule model:
    input:
        environment=ENVIRONMENT,
    output:
        f"{RESULTS}/models/{{model}}.json",
    log:
        f"{RESULTS}/logs/model/{{model}}.log",
    priority: len(ORDER) + 1  # else the runs of other models would all come first
    conda:
        "../../environment.yml"
    params:
        source=lambda wildcards: [
            model_digest(wildcards.model),
            *urls_of(wildcards.model),
            *local_files(wildcards.model),
        ],
        mls=MLS,
    message:
        "Fetching model {wildcards.model}"
    shell:
        "exec {params.mls} model {wildcards.model:q} --config $MLS_CONFIG --output {output:q} > {log:q} 2>&1"


checkpoint probe:
    input:
        environment=ENVIRONMENT,
        model=f"{RESULTS}/models/{{model}}.json",
        drafts=lambda wildcards: [
            f"{RESULTS}/models/{draft}.json" for draft in drafts_of(wildcards.model)
        ],
    output:
        f"{RESULTS}/probe/{{model}}.json",
    log:
        f"{RESULTS}/logs/probe/{{model}}.log",
    priority: len(ORDER) + 1  # as `model`
    conda:
        "../../environment.yml"
    resources:
        server=1,
    params:
        settings=lambda wildcards: probe_digest(wildcards.model),
        source=sources_sha256(
            "core",
            "config",
            "protocol",
            "server",
            "load",
            "commands/serve.py",
            "commands/probe.py",
        ),
        environment=LOCKS_DIGEST,
        mls=MLS,
    message:
        "Probing the server of {wildcards.model}"
    shell:
        "exec {params.mls} serve --die-with-parent --config $MLS_CONFIG --cell model={wildcards.model:q}"
        " --log {log:q}.server -- {params.mls} probe --config $MLS_CONFIG --model {wildcards.model:q}"
        " --output {output:q} > {log:q} 2>&1"
