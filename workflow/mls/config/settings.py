"""The settings that one repeat of a cell resolves to, and what must hold between them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mls.config.axes import (
    CANCEL_SHARE,
    KEY_AXES,
    LOAD_AXES,
    RUN_AXES,
    SERVER_AXES,
    WORKLOAD_AXES,
    Cell,
    cell_key,
)
from mls.config.command_axes import with_axes
from mls.config.config import Config, ModelSource
from mls.config.parse import explain
from mls.config.sections.load import Load, think_time
from mls.config.sections.replies import Replies
from mls.config.sections.run import Run
from mls.config.sections.server import Server
from mls.config.sections.workload import Workload
from mls.core.errors import UserError, nearest


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
    of_command = {axis: value for axis, value in cell.items() if axis not in KEY_AXES}
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
    from_trace = any(length and length.distribution == "trace" for length in lengths)
    has_trace = load.kind == "trace" or (workload.in_sessions and not workload.converses)
    if from_trace and not has_trace:
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


def _valid_server(source: ModelSource, server: dict[str, Any], name: str) -> Server:
    return _valid(Server, server, f"models.{name}.server" if source.server else "server")


T = TypeVar("T", Server, Run, Load, Workload)


def _valid(kind: type[T], values: dict[str, Any], where: str) -> T:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, kind, where)) from None
