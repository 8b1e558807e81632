"""`make report`: Snakemake in this process, with our own view of it. `python workflow/launcher …`."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from snakemake.cli import args_to_api, parse_args
from snakemake.exceptions import CliException
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from launcher import call, handler, own_server
from mls.config.parse import load_config
from mls.core.errors import UserError
from mls.host.text import take_any_text

_PLUGIN = "snakemake_logger_plugin_mls"


def main() -> int:
    """Check the call, and run the workflow. Returns the exit status."""
    take_any_text()
    options = call.parser().parse_args()
    try:
        config = own_server.config_for(options) if options.server else options.config
        if config:
            load_config(Path(config))
    except UserError as error:
        sys.exit(str(error))
    LoggerPluginRegistry().register_plugin(_PLUGIN, handler)
    arguments = ["--cores", options.cores, "--logger", "mls"]
    for name, value in (("--configfile", config), ("--workflow-profile", options.profile)):
        arguments += [name, value] if value else []
    return _snakemake([*arguments, *(["--verbose"] if options.verbose else [])])


def _snakemake(arguments: list[str]) -> int:
    """Run Snakemake. Its word on which profile it takes is left out, unless it stops there."""
    words = io.StringIO()
    try:
        with contextlib.redirect_stderr(words):
            parser, settings = parse_args(arguments)
    except CliException as error:
        sys.exit(str(error))
    except SystemExit:
        sys.stderr.write(words.getvalue())
        raise
    return 0 if args_to_api(settings, parser) else 1


if __name__ == "__main__":
    sys.exit(main())
