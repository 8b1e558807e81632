"""The check of a server's slots and context against the cells of a sweep."""

from __future__ import annotations

from mls.config.axes import axes, cell_key
from mls.config.config import Config
from mls.config.settings import Settings
from mls.core.errors import UserError


def check_context(
    config: Config, points: list[Settings], prompt_tokens: dict[int, int], ctx: int | None
) -> None:
    """Raise `UserError` for the first cell whose prompt and completion don't fit into a slot.

    The server is that of the first of the points.

    prompt_tokens: `prompt_words` → tokens. ctx: tokens of a slot of the server; None is unknown.
    """
    for point in points:
        has = _ctx_per_slot(config, points[0], point, ctx)
        longest, reply = point.workload.longest(point.run.max_tokens)
        if point.run.embeds:
            reply = 0
        prompt = longest or prompt_tokens[point.run.prompt_words]
        needs = prompt + reply
        if has is not None and needs > has:
            shares = (
                f" (server.ctx {point.server.ctx} over server.parallel {point.server.parallel})"
                if point.server.starts_llama_cpp
                else ""
            )
            keys = (
                "run.max_tokens or run.prompt_words"
                if longest is None
                else "workload.prompt_tokens or output_tokens"
            )
            raise UserError(
                f"Context too small for {cell_key(point.cell)}: a prompt of "
                f"{'about' if longest is None else 'up to'} {prompt} tokens and a reply of {reply} "
                f"need {needs}, and a slot has {has}{shares}; raise the context, or lower {keys}."
            )


def slots_warning(
    config: Config, points: list[Settings], slots: int | None, servers: int
) -> list[str]:
    """A warning when the largest `inflight` exceeds the slots: requests will queue in the server.

    slots: of one server, that of the first of the points; None is unknown. servers: number of servers.
    """
    short = []
    for point in points:
        if point.load.open:  # The config doesn't set its requests in flight
            continue
        has = _slots(config, points[0], point, slots)
        if has is None:
            continue
        fleet = point.server.fleet
        has *= fleet if isinstance(fleet, int) and not point.server.addresses else servers
        if point.run.inflight > has:
            short.append((point.run.inflight, has))
    if not short:
        return []
    inflight, has = max(short, key=lambda pair: pair[0] - pair[1])
    return [
        f"Inflight {inflight} on {has} slots: {inflight - has} requests will wait in the server's "
        "queue, which counts in TTFT and latency."
    ]


def _slots(
    config: Config, first: Settings, point: Settings, server_slots: int | None
) -> int | None:
    """Slots of a cell's server; None is unknown. server_slots: what the first cell's server says."""
    if _is_swept(config, point):
        return point.server.parallel
    own_word = server_slots if _has_same_server(first, point) else None
    return own_word or (point.server.parallel if "parallel" in point.server.placeholders else None)


def _ctx_per_slot(
    config: Config, first: Settings, point: Settings, server_ctx: int | None
) -> int | None:
    """Tokens of a slot of a cell's server, or of all of them together, which is no less.

    None is unknown. server_ctx: tokens of a slot, as the first cell's server says.
    """
    if _is_swept(config, point):
        return point.server.ctx // point.server.parallel
    own_word = server_ctx if _has_same_server(first, point) else None
    # Which of both it is, only the author of the command knows
    return own_word or (point.server.ctx if "ctx" in point.server.placeholders else None)


def _is_swept(config: Config, point: Settings) -> bool:
    """Whether the cell sets its own llama.cpp's slots or context, which the probe can't know."""
    return point.server.starts_llama_cpp and bool({"parallel", "ctx"} & set(axes(config)))


def _has_same_server(first: Settings, point: Settings) -> bool:
    """Whether what the first cell's server says of itself is true of this cell's, too.

    A command may make another server of each of its words.
    """
    return point.server.engine != "command" or point.server == first.server
