"""The command line: one thin subcommand for each box of the pipeline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mls.core.errors import UserError
from mls.host.text import take_any_text, unencodable

# Subcommands import what they need when they are called: `mls run` is started on every rank
# and shouldn't load matplotlib first.

app = typer.Typer(
    name="mls",
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", help="The config, as YAML or JSON.")]
CellOption = Annotated[
    list[str] | None, typer.Option("--cell", help="axis=value, once for each axis.")
]
Command = Annotated[list[str], typer.Argument(help="-- COMMAND and its arguments.")]


def _tie_to_parent(wanted: bool) -> bool:
    if wanted:
        from mls.host.processes.lifetime import die_with_launcher

        die_with_launcher()
    return wanted


DieWithParent = Annotated[
    bool,
    typer.Option(
        "--die-with-parent", callback=_tie_to_parent, help="End when the parent process ends."
    ),
]


@app.command()
def environment(
    config: ConfigFile,
    output: Annotated[Path, typer.Option(help="environment.json to write.")],
) -> None:
    """Check the run environment and say what it is: packages, MPI, host, GPU, git state."""
    from mls.config.parse import load_config
    from mls.core.files import write_json
    from mls.host.environment import describe

    write_json(output, describe(load_config(config)))


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="A name from `models` in the config.")],
    config: ConfigFile,
    output: Annotated[Path, typer.Option(help="Where to write what the file is (JSON).")],
) -> None:
    """Fetch a model file, check it, and say what it is."""
    from mls.config.parse import load_config
    from mls.core.files import write_json
    from mls.server.weights.models import describe_model

    write_json(output, describe_model(name, load_config(config), output.parent))


@app.command(context_settings={"ignore_unknown_options": True})
def serve(
    command: Command,
    config: Annotated[Path | None, typer.Option(help="The config; else give --model.")] = None,
    cell: CellOption = None,
    repeat: Annotated[int, typer.Option(min=1, help="Which repeat.")] = 1,
    model: Annotated[str | None, typer.Option(help="Without --config: a GGUF file.")] = None,
    log: Annotated[Path | None, typer.Option(help="Where the server's log goes.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run: a failure is recorded there.")
    ] = None,
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once",
            help="Start COMMAND at once: it waits itself for the server, as `mls run` does.",
        ),
    ] = False,
    die_with_parent: DieWithParent = False,
) -> None:
    """Start the server, wait until it is healthy, run COMMAND with MLS_SERVER set, stop the server."""
    from mls.commands.serve import serve_for

    status = serve_for(command, config, cell or [], repeat, model, log, output, at_once=at_once)
    raise typer.Exit(status)


@app.command(context_settings={"ignore_unknown_options": True})
def cell(
    command: Command,
    config: ConfigFile,
    log: Annotated[
        Path, typer.Option(help="Where the server's log goes, and the repeats' beside.")
    ],
    cell: CellOption = None,
    die_with_parent: DieWithParent = False,
) -> None:
    """Run COMMAND --repeat N --output FOLDER for each repeat of a cell, beside one server."""
    from mls.commands.cell import measure_cell

    raise typer.Exit(measure_cell(command, config, cell or [], log))


@app.command()
def probe(
    server: Annotated[
        list[str] | None, typer.Option(envvar="MLS_SERVER", help="Root URL; once for each server.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="What the server will be asked for.")] = None,
    model: Annotated[str | None, typer.Option(help="A name from the config's models.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the API key.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="probe.json to write.")] = None,
) -> None:
    """Ask a server what it is, and whether it can be benchmarked as the config asks."""
    from mls.commands.probe import probe_server

    probe_server(server or [], config, model, api_key_env, output)


@app.command()
def init(
    server: Annotated[str, typer.Argument(help="Root URL of the server.")],
    model: Annotated[str | None, typer.Option(help="Model name to send.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the API key.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Default: config.yaml in the folder of the results.")
    ] = None,
) -> None:
    """Write a config for a server of your own, by what the server says of itself."""
    from mls.commands.init import init as write_config

    print(write_config(server, model, api_key_env, output))


@app.command(name="next")
def next_(
    config: ConfigFile,
    round: Annotated[int, typer.Option(min=1, help="Which decision on this line.")],
    output: Annotated[Path, typer.Option(help="The decision to write (JSON).")],
    cell: CellOption = None,
) -> None:
    """Decide, by the results so far, what is measured next of a cell or a search, if anything."""
    from mls.analysis.adaptive.decision import decide
    from mls.config.cells import parse_cell
    from mls.config.parse import load_config
    from mls.core.arrow import without_pandas
    from mls.core.files import write_json

    without_pandas()
    loaded = load_config(config)
    first = parse_cell(loaded, cell or [])
    decision = decide(loaded, Path(loaded.results), first, round)
    write_json(output, decision.model_dump(mode="json"))
    print(decision.message)


@app.command()
def aggregate(
    config: ConfigFile,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder. Default: the sweep's own, with copies at the top of results."),
    ] = None,
) -> None:
    """Gather all repeats into summary.csv and cells.csv."""
    from mls.analysis.tables import TABLES
    from mls.analysis.tables import aggregate as gather
    from mls.config.parse import load_config
    from mls.core.arrow import without_pandas
    from mls.core.sweep_folder import publish, sweep_folder

    without_pandas()
    loaded = load_config(config)
    results = Path(loaded.results)
    gather(loaded, results, output or sweep_folder(results, loaded.name))
    if not output:
        publish(results, loaded.name, TABLES)


@app.command()
def report(
    config: ConfigFile,
    output: Annotated[
        Path | None,
        typer.Option(help="Page. Default: the sweep's own, with a copy at the top of results."),
    ] = None,
    so_far: Annotated[
        bool,
        typer.Option("--so-far", help="While the sweep is measured: what there is, and no answer."),
    ] = False,
) -> None:
    """Render the page, and its answer as plain text beside it."""
    from mls.config.parse import load_config
    from mls.core.arrow import without_pandas
    from mls.core.sweep_folder import ANSWER, PAGE, publish, sweep_folder
    from mls.report.pages.page import render
    from mls.report.pages.so_far import render_so_far

    without_pandas()
    loaded = load_config(config)
    results = Path(loaded.results)
    page = output or sweep_folder(results, loaded.name) / PAGE
    if so_far:
        render_so_far(loaded, results, page)
    else:
        render(loaded, results, page, page.with_name(ANSWER))
    if not output:
        publish(results, loaded.name, [PAGE])


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="Folder of results, or an archive.")],
    new: Annotated[Path, typer.Argument(help="The same, of what is to be judged.")],
    output: Annotated[Path, typer.Option(help="The page.")] = Path("compare.html"),
    fail_if_worse: Annotated[
        str | None,
        typer.Option(help="Exit with status 2 when a cell is worse by more than this, such as 5%."),
    ] = None,
    form: Annotated[
        Literal["text", "markdown", "json"],
        typer.Option("--format", help="Of what is printed: a line a cell, a comment, or data."),
    ] = "text",
) -> None:
    """Compare two sets of results, cell by cell: better, worse, the same, or can't tell."""
    from mls.commands.compare import compare_results

    raise typer.Exit(compare_results(base, new, output, fail_if_worse, form))


@app.command()
def history(
    folder: Annotated[Path, typer.Argument(help="Folder that holds archives, or result folders.")],
    output: Annotated[Path, typer.Option(help="The page.")] = Path("history.html"),
) -> None:
    """Show the trend of each cell over all archives in a folder."""
    from mls.analysis.history import history as read
    from mls.report.pages.history import render

    render(read(folder), folder, output)


@app.command()
def reproduce(
    archive: Annotated[Path, typer.Argument(help="A zip made by `mls archive`.")],
    results: Annotated[Path, typer.Option(help="Where the new results go.")] = Path("reproduced"),
    cores: Annotated[str, typer.Option(help="As for Snakemake.")] = "all",
    fail_if_worse: Annotated[
        str | None,
        typer.Option(help="Exit with status 2 when a cell is worse by more than this, such as 5%."),
    ] = None,
) -> None:
    """Measure an archive's config again, and compare the new results with the archived ones."""
    from mls.commands.reproduce import reproduce as again

    raise typer.Exit(again(archive, results, cores, fail_if_worse))


@app.command()
def archive(
    config: ConfigFile,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also when planned repeats have no result yet.")
    ] = False,
) -> None:
    """Zip page, tables, raw records, config and locks, with a manifest of SHA-256 sums."""
    from mls.config.parse import load_config
    from mls.report.archive.archive import archive as pack

    loaded = load_config(config)
    print(pack(loaded, Path(loaded.results), partial=partial))


@app.command()
def verify(archive: Annotated[Path, typer.Argument(help="A zip made by `mls archive`.")]) -> None:
    """Check an archive's files against its manifest, and its parts against each other."""
    from mls.report.archive.verification import verify as check

    for sentence in check(archive).sentences():
        print(f"{archive}: {sentence}")


@app.command()
def schemas(
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit 1 if stale.")] = False,
) -> None:
    """Write the JSON Schemas and config/README.md from the typed models."""
    from mls.config.reference import generated_files

    stale = [path for path, text in generated_files() if not _same(path, text)]
    if check and stale:
        raise UserError(f"{', '.join(map(str, stale))}: not as generated; run `make schemas`.")
    for path, text in generated_files():
        path.write_text(text, encoding="utf-8")


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main() -> None:
    """Entry point: user errors become one sentence and exit status 1."""
    take_any_text()
    if "MLS_LAUNCHER_PID" in os.environ:  # else psutil need not be loaded
        from mls.host.processes.lifetime import die_with_workflow

        die_with_workflow()
    if sys.argv[1:2] == ["run"]:
        from mls.host.launch.shared_memory import end_without_shared_memory
        from mls.host.processes.signals import end_on_interrupt

        # before MPI is initialized, which its import does
        end_on_interrupt()
        end_without_shared_memory()
        from mls.commands.run import run

        app.command(name="run")(run)
    else:
        app.command(name="run", help="One rank of the load generator; start it with mpirun.")(_run)
    try:
        app()
    except UserError as error:
        print(f"mls {sys.argv[1] if len(sys.argv) > 1 else ''}: {error}".strip(), file=sys.stderr)
        sys.exit(1)
    except UnicodeEncodeError as error:
        print(f"mls: {unencodable(error)}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"mls: {where}{error.strerror or error}.", file=sys.stderr)
        sys.exit(1)


def _run() -> None:
    """Shown in `mls --help` without loading MPI."""
