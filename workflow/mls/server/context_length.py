"""The check of a server's slots and context against the cells of a sweep."""

from __future__ import annotations

from mls.config.cells import Settings, axes, cell_key
from mls.config.config import Config
from mls.core.errors import UserError


def check_context(
    config: Config, points: list[Settings], prompt_tokens: dict[int, int], ctx: int | None
) -> None:
    """Raise `UserError` for the first cell whose prompt and completion don't fit into a slot.

    prompt_tokens: `prompt_words` → tokens. ctx: tokens of a slot of the server; None is unknown.
    """
    for point in points:
        has = _ctx_per_slot(config, point, ctx)
        longest, reply = point.workload.longest(point.run.max_tokens)
        if point.run.embeds:
            reply = 0
        prompt = longest or prompt_tokens[point.run.prompt_words]
        needs = prompt + reply
        if has is not None and needs > has:
            shares = (
                ""
                if point.server.addresses
                else f" (server.ctx {point.server.ctx} over server.parallel {point.server.parallel})"
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

    slots: of one server; None is unknown. servers: number of servers.
    """
    short = []
    for point in points:
        if point.load.open:  # The config doesn't set its requests in flight
            continue
        has = point.server.parallel if _is_swept(config, point) else slots
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


def _ctx_per_slot(config: Config, point: Settings, server_ctx: int | None) -> int | None:
    if _is_swept(config, point):
        return point.server.ctx // point.server.parallel
    return server_ctx


def _is_swept(config: Config, point: Settings) -> bool:
    """Whether the cell sets its own server's slots or context, which the probe can't know."""
    return not point.server.addresses and bool({"parallel", "ctx"} & set(axes(config)))
