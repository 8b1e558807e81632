"""Axes of the sweep that are no key of the config: placeholders in `server.command`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import cast

from mls.config.config import Config
from mls.config.sections.load import Load
from mls.config.sections.placeholders import fill_some, placeholders
from mls.config.sections.run import Run
from mls.config.sections.secrets import has_key_option
from mls.config.sections.server import PLACEHOLDERS, Server
from mls.config.sections.workload import Workload
from mls.core.errors import UserError, nearest
from mls.core.summary import Summary

_COLUMNS = (
    *("name", "repeat", "status", "message", "verdict", "verdict_failed"),
    *("repeats_ok", "repeats_failed"),
)
"""Columns of the tables beside the axes and the figures."""

NO_AXES = frozenset(
    [
        *(key for kind in (Config, Server, Run, Load, Workload) for key in kind.model_fields),
        *PLACEHOLDERS,
        *_COLUMNS,
        *Summary.model_fields,
        # Snakemake's wildcards are attributes of a list with the methods of a mapping
        *dir(list),
        *dir(dict),
    ]
)
"""Names that mean something else, and are no axes by being in a command."""


def names_in_commands(config: Config) -> list[str]:
    """Names of the placeholders in the commands of all models' servers, valid or not."""
    names: list[str] = []
    for source in config.models.values():
        words = source.server.get("command", config.server.command)
        with contextlib.suppress(TypeError, ValueError):  # its own check comes with each cell
            names += placeholders(cast(list[str], words))
    return names


def check_axis(axis: str, values: list[object]) -> None:
    """Check an axis that is in a command. Raises `UserError` for a name or a value that can't be."""
    if axis in NO_AXES:
        raise UserError(
            f"sweep.{axis}: this name means something else already; give the axis another, and its "
            "placeholder in server.command the same."
        )
    for value in values:
        if isinstance(value, bool):
            raise UserError(
                f"sweep.{axis}: expected text or numbers for {{{axis}}} in server.command, not "
                f"{value!r}; put a word such as on, off, true or false in quotes."
            )
        if has_key_option([str(value)]):
            raise UserError(
                f"sweep.{axis}: a value looks like a key, and would be in the names of files: let "
                "server.api_key_env name the variable that holds it."
            )


def with_axes(server: Server, values: Mapping[str, object], model: str) -> Server:
    """The server with the values of these axes in its command.

    values: axis → value, of the axes that are no keys. Raises `UserError` for an axis that the
    command doesn't have, and for a placeholder that is neither an axis nor the server's own.
    """
    for axis in values:
        if axis not in server.placeholders:
            raise UserError(
                f"sweep.{axis}: neither a key nor a placeholder in the server.command of {model}; "
                f"use {{{axis}}} there, or leave the axis out."
            )
    command = fill_some(server.command, values)
    result = server.model_copy(update={"command": command})
    for name in result.placeholders:
        if name not in PLACEHOLDERS:
            others = [*PLACEHOLDERS, *values]
            raise UserError(
                f"server.command: {{{name}}} is no placeholder{nearest(name, others)}; expected one "
                f"of {', '.join(f'{{{each}}}' for each in others)}, or an axis of `sweep` that is "
                "a key nowhere else ({{ and }} are literal braces)."
            )
    return result
