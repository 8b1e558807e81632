"""From a config to its cells: axes, cells, repeats, and the settings each of them resolves to."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mls.config.command_axes import check_axis, names_in_commands, with_axes
from mls.config.config import Config, ModelSource
from mls.config.parse import explain
from mls.config.sections.adaptive import DIGITS, Search
from mls.config.sections.load import Load, think_time
from mls.config.sections.replies import Replies
from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Workload
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
_KEY_AXES = {"model"} | RUN_AXES | SERVER_AXES | LOAD_AXES | WORKLOAD_AXES

Cell = dict[str, Any]
"""One point of the sweep: axis → value, in the order of `axes()`."""


@dataclass(frozen=True)
class Settings:
    """All that determines the measurement of one repeat of one cell."""

    cell: Cell
    repeat: int
    seed: int
    model: ModelSource
    served_as: str | None
    server: Server
    run: Run
    load: Load
    workload: Workload
    replies: Replies = field(default_factory=Replies)

    @property
    def requests(self) -> int | None:
        """Requests (conversations) to send; None when something else ends the run."""
        return self.load.requests(self.run)

    @property
    def thinks(self) -> bool:
        """Whether places of a closed loop pause between two requests."""
        return not think_time(self.load, self.workload).never

    @property
    def files(self) -> list[Path]:
        """Files that the measurement depends on. Raises `UserError` when one is missing."""
        names = [
            ("load.file", self.load.file),
            ("workload.file", self.workload.file),
            ("workload.media", self.workload.media),
        ]
        paths = {key: Path(name).expanduser() for key, name in names if name}
        for key, path in paths.items():
            if not path.exists():
                raise UserError(f"{key}: {path} is not there; correct the path.")
        media = paths.pop("workload.media", None)
        if media and not media.is_dir():
            raise UserError(
                f"workload.media: {media} is a file; expected the folder that it is in."
            )
        files = [path / "run.json" if path.is_dir() else path for path in paths.values()]
        return [*files, *(sorted(media.rglob("*")) if media else [])]


def axes(config: Config) -> list[str]:
    """Names of the axes: model, inflight and ranks first, then the config's own in its order.

    An axis that is searched comes last, unless it is inflight.
    """
    search_axes = [config.search.axis] if config.search else []
    return list(dict.fromkeys([*ALWAYS, *config.sweep, *search_axes]))


def cells(config: Config) -> list[Cell]:
    """All cells; the first axis varies slowest. A searched axis has the first value of its search.

    Raises `UserError` for an axis or a value that is not valid.
    """
    _check_axes(config)
    values = [config.sweep.get(axis) or [_default(config, axis)] for axis in axes(config)]
    points = [dict(zip(axes(config), point, strict=True)) for point in itertools.product(*values)]
    for cell in points:
        if settings(config, cell, repeat=1).server.shared:
            _check_sharing(config)
        if config.search:
            highest = cell | {config.search.axis: tidy(config.search.high)}
            _check_search(settings(config, highest, repeat=1), config.search)
    return points


def tidy(value: float) -> int | float:
    """A searched value as in paths: a whole number, or one of `DIGITS` significant digits."""
    exact = float(value)
    number = exact if exact.is_integer() else float(f"{exact:.{DIGITS}g}")
    return int(number) if number.is_integer() else number


def settings(config: Config, cell: Cell, repeat: int) -> Settings:
    """Resolve one repeat of a cell. Raises `UserError` naming the key when a value is not valid."""
    name = cell["model"]
    if name not in config.models:
        raise UserError(
            f"sweep.model: {name!r} is not in `models`{nearest(name, config.models)}; "
            f"it has {', '.join(config.models)}."
        )
    source = config.models[name]
    server = config.server.model_dump() | source.server
    run = config.run.model_dump()
    load = config.load.model_dump(exclude_unset=True)
    workload = config.workload.model_dump(exclude_unset=True)
    for axis, value in cell.items():
        if axis == CANCEL_SHARE:
            if run["cancel"] is None:
                raise UserError(
                    "sweep.cancel_share: run.cancel is missing, whose after_s says when to hang up."
                )
            run["cancel"] = run["cancel"] | {"share": value}
        elif axis in RUN_AXES:
            run[axis] = value
        elif axis in SERVER_AXES:
            server[axis] = value
        elif axis in LOAD_AXES:
            load[axis] = value
        elif axis in WORKLOAD_AXES:
            workload[axis] = value
    # A stopping rule that is an axis replaces the config's other one
    if "iters" in cell or "rounds" in cell:
        run["duration_s"] = None
    elif "duration_s" in cell:
        run["iters"] = run["rounds"] = None
    of_command = {axis: value for axis, value in cell.items() if axis not in _KEY_AXES}
    candidate = Settings(
        cell=cell,
        repeat=repeat,
        seed=repeat_seed(config, cell, repeat),
        model=source,
        served_as=source.served_as,
        server=with_axes(_valid_server(source, server, name), of_command, name),
        run=_valid(Run, run, "run"),
        load=_valid(Load, load, "load"),
        workload=_valid(Workload, workload, "workload"),
        replies=config.replies,
    )
    _check_load(candidate)
    _check_draft(candidate, config)
    return candidate


def _check_sharing(config: Config) -> None:
    """Raise `UserError` when runs may be added later, which can't have the process of the others."""
    if config.repeats == "auto" or config.search:
        key = "search" if config.search else "repeats: auto"
        raise UserError(
            f"server.reuse: cell goes with a number of repeats that is known beforehand, not with {key}; "
            "use reuse: repeat, or give a number and the values."
        )


def _check_search(highest: Settings, search: Search) -> None:
    """Raise `UserError` when the load has no such axis to search."""
    if search.axis == "inflight" and highest.load.open:
        raise UserError(
            f"search.axis: in an open loop (load.kind {highest.load.kind}) inflight is not for the "
            "config to say; search `rate`."
        )


def _check_draft(candidate: Settings, config: Config) -> None:
    """Raise `UserError` when the model that drafts isn't one with a file."""
    draft = candidate.server.draft
    if draft is None:
        return
    if draft not in config.models:
        raise UserError(
            f"server.draft_model: {draft!r} is not in `models`{nearest(draft, config.models)}; "
            f"it has {', '.join(config.models)}."
        )
    if not config.models[draft].has_file:
        raise UserError(
            f"models.{draft}: server.draft_model needs its file; give package, path, hub_repo or url."
        )


def _check_load(candidate: Settings) -> None:
    """Check what must hold between the sections. Raises `UserError` naming the key."""
    load, run, workload = candidate.load, candidate.run, candidate.workload
    if load.missing_keys:
        key = load.missing_keys[0]
        raise UserError(f"load.{key}: this key is missing; kind {load.kind} needs it.")
    if load.open and run.rounds:
        raise UserError(
            f"run.rounds: in an open loop (load.kind {load.kind}) no place sends one request after "
            "another; leave it out."
        )
    if load.kind == "stages" and (run.iters or run.duration_s):
        raise UserError(
            "run.iters and run.duration_s: stages end by their own durations; leave these out."
        )
    if run.transport != "epoll" and (load.open or candidate.thinks or workload.in_sessions):
        what = f"load.kind {load.kind}" if load.open else "a load of users who think or converse"
        raise UserError(f"run.transport: {what} goes with epoll, not with {run.transport}.")
    if workload.converses and (load.open or not run.chats):
        raise UserError(
            "workload.kind: a conversation goes with load.kind closed and a chat endpoint."
        )
    if workload.in_sessions and not workload.converses and load.open:
        raise UserError(
            f"workload.file: sessions of workload.kind blocks go with load.kind closed, not with "
            f"{load.kind}; leave it out, or load out."
        )
    if workload.in_sessions and run.cancel:
        raise UserError(
            "run.cancel: a conversation would end at its first cancelled turn, with fewer turns than "
            "it is to have; leave run.cancel out, or choose another workload.kind."
        )
    if candidate.server.policy == "sticky" and not workload.in_sessions:
        raise UserError(
            "server.policy: sticky goes with workload.kind conversation, or blocks with a file."
        )
    if run.embeds and (workload.output_tokens or "output_tokens" in workload.columns):
        raise UserError(
            "workload.output_tokens: embeddings and scores have no tokens of their own; leave it out, and its "
            "column too."
        )
    longest = workload.prompt_tokens.greatest
    if workload.kind == "shared_prefix" and longest and longest <= workload.prefix_tokens:
        raise UserError(
            f"workload.prompt_tokens: expected more than the {workload.prefix_tokens} tokens of "
            f"prefix_tokens, not {longest}."
        )
    if workload.kind == "depth":
        _check_depth(candidate)
    if load.max_inflight and load.max_inflight < run.ranks:
        raise UserError(
            f"load.max_inflight: expected at least one for each of the {run.ranks} ranks, "
            f"not {load.max_inflight}."
        )
    lengths = (workload.prompt_tokens, workload.output_tokens)
    has_trace = load.kind == "trace" or (workload.in_sessions and not workload.converses)
    if not has_trace and any(length and length.greatest is None for length in lengths):
        raise UserError("workload: lengths of a `trace` go with load.kind trace.")


def _check_depth(candidate: Settings) -> None:
    """Raise `UserError` when the depth can't be in the cache of every place before the load."""
    run = candidate.run
    if not run.cache_prompt:
        raise UserError(
            "run.cache_prompt: workload.kind depth reaches its depth through the server's prompt "
            "cache; set it to true."
        )
    if run.warmup < run.inflight:
        raise UserError(
            f"run.warmup: expected at least one request for each of the {run.inflight} in flight, not "
            f"{run.warmup}: with workload.kind depth the warm-up brings the depth into the cache."
        )


def repeat_seed(config: Config, cell: Cell, repeat: int) -> int:
    """The seed of a repeat, of 63 bits. Each repeat of each cell has its own, and so own prompts."""
    text = f"{config.seed}|{config.name}|{cell_key(cell)}|{repeat}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def run_order(config: Config) -> list[tuple[str, int]]:
    """(`cell_key`, repeat) of all runs in the order to measure them.

    Repeats are blocks: the first repeat of every cell, then the second of every cell, and so on.
    The config's seed shuffles the cells of each block anew, so a machine that drifts favours no
    cell. Where results decide, the list has every run that may come; a search has its first cell.
    """
    keys = [cell_key(cell) for cell in cells(config)]
    return [
        (key, repeat)
        for repeat in range(1, config.most_repeats + 1)
        for key in sorted(keys, key=lambda key: _shuffle(config, key, repeat))
    ]


def _shuffle(config: Config, key: str, repeat: int) -> bytes:
    return hashlib.sha256(f"order|{config.seed}|{config.name}|{repeat}|{key}".encode()).digest()


def cell_key(cell: Cell) -> str:
    """The cell as in the path of its runs: `model~smollm2/inflight~8/ranks~2`."""
    return "/".join(f"{axis}~{value}" for axis, value in cell.items())


def run_path(config: Config, cell: Cell, repeat: int) -> str:
    """Folder of one repeat below `<results>/runs` (the Paramspace instance)."""
    return f"name~{config.name}/{cell_key(cell)}/repeat~{repeat}"


def parse_cell(config: Config, assignments: list[str]) -> Cell:
    """The cell of `cells(config)` whose values print as in these `axis=value` strings.

    A searched axis may have any value within the bounds of its search.
    Raises `UserError` when the config has no such cell.
    """
    texts = dict(item.partition("=")[::2] for item in assignments)
    for cell in cells(config):
        point = cell | _search_value(config, texts)
        if all(str(point.get(axis)) == value for axis, value in texts.items()):
            return point
    raise UserError(f"The config has no cell {texts}: its axes are {', '.join(axes(config))}.")


def _search_value(config: Config, texts: dict[str, str]) -> Cell:
    """The searched axis with its value in `texts`; empty when it has none within the bounds."""
    search = config.search
    if search is None or search.axis not in texts:
        return {}
    try:
        value = float(texts[search.axis])
    except ValueError:
        return {}
    whole = value.is_integer() or search.axis != "inflight"
    return {search.axis: tidy(value)} if whole and search.low <= value <= search.high else {}


def _default(config: Config, axis: str) -> Any:
    if config.search and axis == config.search.axis:
        return tidy(config.search.low)
    return next(iter(config.models)) if axis == "model" else getattr(config.run, axis)


def _check_axes(config: Config) -> None:
    of_commands = names_in_commands(config)
    if config.search and config.search.axis in config.sweep:
        raise UserError(
            f"sweep.{config.search.axis}: `search` chooses its values; leave it out of `sweep`."
        )
    for axis, values in config.sweep.items():
        if axis not in _KEY_AXES:
            if axis not in of_commands:
                near = nearest(axis, [*_KEY_AXES, *of_commands])
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


def _valid_server(source: ModelSource, server: dict[str, Any], name: str) -> Server:
    return _valid(Server, server, f"models.{name}.server" if source.server else "server")


T = TypeVar("T", Server, Run, Load, Workload)


def _valid(kind: type[T], values: dict[str, Any], where: str) -> T:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, kind, where)) from None
