# What is measured: the first runs, and what decisions on their results add (`repeats: auto`, `search`).
from itertools import count

from mls.config.decisions import Decision, rules_digest

DECISION = f"{RESULTS}/plan/name~{CONFIG.name}/{{line}}/round~{{round}}.json"
RUN_FILES = ("run.json", "requests.parquet")
FIRST_RUNS = [f"{RESULTS}/runs/{instance}" for instance in SPACE.instance_patterns]


def folder_of(run):
    return f"{RESULTS}/runs/{run_path(CONFIG, run.cell, run.repeat)}"


def decided(line, before=None):
    """(folders of all runs, decisions) of a line, as far as is decided before a round.

    Raises Snakemake's sign that a decision has to be made first.
    """
    runs, files = repeats_of(CONFIG, LINES[line]), []
    for number in count(1):
        if number == before:
            break
        files.append(checkpoints.next.get(line=line, round=number).output[0])
        decision = Decision.model_validate_json(Path(files[-1]).read_bytes())
        if not decision.runs:
            break
        runs += decision.runs
    return [folder_of(run) for run in runs], files


def added(kind):
    """Input functions, one for each line, so that no line waits for another one's decisions.

    kind: a file of each run, or `decisions`.
    """

    def of(line):
        def files(wildcards):
            runs, decisions = decided(line)
            return (
                decisions if kind == "decisions" else [f"{run}/{kind}" for run in runs]
            )

        return files

    return [of(line) for line in LINES] if adaptive(CONFIG) else []


def planned_files(name):
    """A file of every run: what is known beforehand, and what decisions add."""
    return [*(f"{run}/{name}" for run in FIRST_RUNS), *added(name)]


def runs_before(wildcards):
    """What a decision is made from: all runs of the rounds before it, and the decision before it."""
    number = int(wildcards.round)
    runs, files = decided(wildcards.line, before=number)
    return [*(f"{run}/{name}" for run in runs for name in RUN_FILES), *files[-1:]]


checkpoint next:
    input:
        runs_before,
    output:
        DECISION,
    log:
        f"{RESULTS}/logs/plan/name~{CONFIG.name}/{{line}}/round~{{round}}.log",
    wildcard_constraints:
        round="[0-9]+",
    priority: len(ORDER) + 1  # before the runs of the block that it may add to
    conda:
        "../../environment.yml"
    params:
        rules=rules_digest(CONFIG),
        source=sources_sha256("core", "config", "analysis"),
        cell=lambda wildcards: [
            option
            for axis, value in line_of(CONFIG, LINES[wildcards.line]).items()
            for option in ("--cell", f"{axis}={value}")
        ],
        mls=MLS,
    message:
        "Deciding on {wildcards.line}, round {wildcards.round}"
    shell:
        "exec {params.mls} next --config $MLS_CONFIG {params.cell:q} --round {wildcards.round}"
        " --output {output:q} > {log:q} 2>&1"
