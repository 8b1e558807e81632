# Tables, the page and the archive.
from datetime import UTC, datetime

LAST_STOP = Path(RESULTS, "logs", "last-stop")


rule aggregate:
    input:
        *planned_files("run.json"),
        *planned_files("requests.parquet"),
        *added("decisions"),
        environment=ENVIRONMENT,
    output:
        report(
            f"{RESULTS}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "repeats"},
        ),
        report(
            f"{RESULTS}/cells.csv",
            caption="../report/cells.rst",
            category="Tables",
            labels={"table": "cells"},
        ),
        f"{RESULTS}/summary.parquet",
        f"{RESULTS}/cells.parquet",
    log:
        f"{RESULTS}/logs/aggregate.log",
    conda:
        "../../environment.yml"
    threads: workflow.cores
    params:
        config=data_sha256(CONFIG.model_dump()),
        source=sources_sha256("core", "config", "analysis"),
        # tables made outside of this rule, by `onerror`, are not what Snakemake believes is there
        stopped=LAST_STOP.read_text() if LAST_STOP.exists() else "never",
        mls=MLS,
    message:
        "Gathering the tables"
    shell:
        "exec {params.mls} aggregate --config $MLS_CONFIG > {log:q} 2>&1"


rule page:
    input:
        tables=rules.aggregate.output,
        probes=expand(f"{RESULTS}/probe/{{model}}.json", model=MODELS),
        environment=ENVIRONMENT,
    output:
        report(
            f"{RESULTS}/report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "report"},
        ),
    log:
        f"{RESULTS}/logs/page.log",
    conda:
        "../../environment.yml"
    threads: workflow.cores
    params:
        source=sources_sha256("core", "config", "analysis", "report"),
        baseline=baseline_digest(),
        mls=MLS,
    message:
        f"Rendering {RESULTS}/report.html"
    shell:
        "exec {params.mls} report --config $MLS_CONFIG > {log:q} 2>&1"


onerror:
    # One failed cell must not hide the others: tables and page say what is there and what is not.
    try:
        write(LAST_STOP, f"{datetime.now(UTC).isoformat()}\n")
    except UserError as error:  # a full disk takes no logs either
        sys.exit(str(error))
    if any(Path(RESULTS, "runs").rglob("run.json")):
        shell(
            "{MLS} aggregate --config $MLS_CONFIG && {MLS} report --config $MLS_CONFIG"
        )
        print(
            f"Some runs failed; {RESULTS}/report.html names them. The next run measures just those."
        )
