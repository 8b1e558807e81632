# Tables and page of the sweep, and their copies for the last sweep that has results.
from datetime import UTC, datetime

LAST_STOP = Path(RESULTS, "logs", "last-stop")

PAGE_SO_FAR = PageSoFar(
    f"{PREFIX}exec {MLS} report --config $MLS_CONFIG --so-far",
    runs=Path(RESULTS, "runs", f"name~{CONFIG.name}"),
    log=Path(RESULTS, "logs", "page-so-far.log"),
    stop=LAST_STOP,
)
if workflow.is_main_process and not workflow.dryrun:
    logger.addFilter(PAGE_SO_FAR)


rule aggregate:
    input:
        *planned_files("run.json"),
        *planned_files("requests.parquet"),
        *added("decisions"),
        environment=ENVIRONMENT,
    output:
        report(
            f"{SWEEP}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "repeats"},
        ),
        report(
            f"{SWEEP}/cells.csv",
            caption="../report/cells.rst",
            category="Tables",
            labels={"table": "cells"},
        ),
        f"{SWEEP}/summary.parquet",
        f"{SWEEP}/cells.parquet",
    log:
        f"{RESULTS}/logs/aggregate.log",
    conda:
        "../../environment.yml"
    threads: workflow.cores
    params:
        config=data_sha256(CONFIG.model_dump()),
        source=sources_sha256("core", "config", "analysis"),
        # made outside of this rule, by `onerror` or between runs, they are not what Snakemake believes
        stopped=LAST_STOP.read_text() if LAST_STOP.exists() else "never",
        folder=subpath(output[0], parent=True),
        mls=MLS,
    message:
        "Gathering the tables"
    shell:
        "exec {params.mls} aggregate --config $MLS_CONFIG --output {params.folder:q} > {log:q} 2>&1"


rule page:
    input:
        tables=rules.aggregate.output,
        probes=expand(f"{RESULTS}/probe/{{model}}.json", model=MODELS),
        environment=ENVIRONMENT,
    output:
        page=report(
            f"{SWEEP}/report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"page": "report"},
        ),
        answer=f"{SWEEP}/answer.txt",
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
        "Rendering the page"
    shell:
        "exec {params.mls} report --config $MLS_CONFIG --output {output.page:q} > {log:q} 2>&1"


rule latest:
    input:
        *rules.aggregate.output,
        rules.page.output.page,
    output:
        # of another sweep, perhaps: they stay if this fails
        [update(f"{RESULTS}/{name}") for name in LATEST],
    log:
        f"{RESULTS}/logs/latest.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
    shell:
        "exec cp {input:q} {params.folder:q} > {log:q} 2>&1"


onsuccess:
    PAGE_SO_FAR.settle()


onerror:
    # One failed cell must not hide the others: tables and page say what is there and what is not.
    try:
        write(LAST_STOP, f"{datetime.now(UTC).isoformat()}\n")
    except UserError as error:  # a full disk takes no logs either
        sys.exit(str(error))
    planned = [
        Path(RESULTS, "runs", run_path(CONFIG, cell, repeat))
        for cell, repeats in planned_runs(CONFIG, Path(RESULTS))
        for repeat in repeats
    ]
    for folder in planned:
        restore_kept(folder)
    page = Path(SWEEP, "report.html")
    if has_runs(Path(RESULTS), CONFIG.name):
        for command in ("aggregate", "report"):
            log_file = f"{RESULTS}/logs/{command}-after-failure.log"
            try:
                shell("{MLS} {command} --config $MLS_CONFIG > {log_file:q} 2>&1")
            except CalledProcessError:
                FAILURES.add(command, Path(log_file))
    logger.error(
        FAILURES.text(
            measured=sum((folder / RUN).exists() for folder in planned),
            planned=len(planned),
            page=page if page.exists() else None,
        ),
        extra={END: True},
    )
