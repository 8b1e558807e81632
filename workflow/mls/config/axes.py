"""The axes of a sweep, their values, and a cell: one point on all of them."""

from __future__ import annotations

from typing import Any

from mls.config.command_axes import check_axis, names_in_commands
from mls.config.config import Config
from mls.config.sections.adaptive import DIGITS
from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.core.errors import UserError, nearest

ALWAYS = ("model", "inflight", "ranks")
"""Axes that every cell has, swept or not."""

_NOT_AN_AXIS = {
    "url",
    "urls",
    "binary",
    "host",
    "port",
    "api_key_env",
    "headers_env",
    "extra_args",
    "command",
    "ready",
    "environment",
    "reuse",
    "request_extra",
    "request_headers",
    "cancel",
    "adapters",
}
CANCEL_SHARE = "cancel_share"
"""The axis of `run.cancel.share`."""
SERVER_AXES = frozenset(Server.model_fields) - _NOT_AN_AXIS
RUN_AXES = frozenset(Run.model_fields) - _NOT_AN_AXIS | {CANCEL_SHARE}
LOAD_AXES = frozenset({"rate", "burstiness", "max_inflight", "speed"})
WORKLOAD_AXES = frozenset(
    {"prompt_tokens", "output_tokens", "prefix_tokens", "depth", "groups", "turns"}
)
ASKED_AXES = WORKLOAD_AXES | {
    CANCEL_SHARE,
    "prompt_words",
    "max_tokens",
    "ignore_eos",
    "temperature",
    "burstiness",
    "speed",
}
"""Axes of what users ask of a server: none of their values is a better choice than another."""
KEY_AXES = {"model"} | RUN_AXES | SERVER_AXES | LOAD_AXES | WORKLOAD_AXES
"""All axes but those of `server.command`."""

Cell = dict[str, Any]
"""One point of the sweep: axis → value, in the order of `axes()`."""


def axes(config: Config) -> list[str]:
    """Names of the axes: model, inflight and ranks first, then the config's own in its order.

    An axis that is searched comes last, unless it is inflight.
    """
    search_axes = [config.search.axis] if config.search else []
    return list(dict.fromkeys([*ALWAYS, *config.sweep, *search_axes]))


def tidy(value: float) -> int | float:
    """A searched value as in paths: a whole number, or one of `DIGITS` significant digits."""
    exact = float(value)
    number = exact if exact.is_integer() else float(f"{exact:.{DIGITS}g}")
    return int(number) if number.is_integer() else number


def cell_key(cell: Cell) -> str:
    """The cell as in the path of its runs: `model~smollm2/inflight~8/ranks~2`."""
    return "/".join(f"{axis}~{value}" for axis, value in cell.items())


def default(config: Config, axis: str) -> Any:
    """The value of an axis that isn't swept."""
    if config.search and axis == config.search.axis:
        return tidy(config.search.low)
    return next(iter(config.models)) if axis == "model" else getattr(config.run, axis)


def check_axes(config: Config) -> None:
    """Raise `UserError` for an axis or a value of the sweep that is not valid."""
    of_commands = names_in_commands(config)
    if config.search and config.search.axis in config.sweep:
        raise UserError(
            f"sweep.{config.search.axis}: `search` chooses its values; leave it out of `sweep`."
        )
    for axis, values in config.sweep.items():
        if axis not in KEY_AXES:
            if axis not in of_commands:
                near = nearest(axis, [*KEY_AXES, *of_commands])
                raise UserError(f"sweep.{axis}: not a run parameter{near}.")
            check_axis(axis, values)
        if not values:
            raise UserError(f"sweep.{axis}: expected at least one value.")
        if len({str(v) for v in values}) != len(values):
            raise UserError(f"sweep.{axis}: a value is given twice in {values}.")
        for value in values:
            if not isinstance(value, bool | int | float | str) or (
                isinstance(value, str) and ("/" in value or not value)
            ):
                raise UserError(
                    f"sweep.{axis}: {value!r} can't be part of a path; expected a number, a boolean, "
                    "or a word without '/'."
                )
