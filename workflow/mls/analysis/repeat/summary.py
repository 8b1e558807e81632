"""The summary of one repeat, from its raw request records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeat.cache.ideal import ideal_cache
from mls.analysis.repeat.cancellation.figures import hang_ups
from mls.analysis.repeat.columns import (
    Bools,
    Floats,
    Ints,
    floats,
    ints,
    lists,
    succeeded,
    total,
    with_reasoning,
    without_answer,
)
from mls.analysis.repeat.hardware.cards import PostFacts, summarize_cards
from mls.analysis.repeat.hardware.energy import summarize_cpu
from mls.analysis.repeat.hardware.series import Series, series
from mls.analysis.repeat.in_flight import InFlight, Timeline, timeline
from mls.analysis.repeat.samples import distribution, in_one_piece, samples
from mls.analysis.repeat.server_figures import ServerFigures, courses, highest
from mls.analysis.repeat.sessions.figures import sessions
from mls.analysis.repeat.speculation import by_counters, by_requests
from mls.config.sections.workload import Workload
from mls.core.record import CANCELLED
from mls.core.run_result import Template
from mls.core.summary import (
    Cache,
    Client,
    Inflight,
    Media,
    Overall,
    RankCost,
    Requests,
    ServerSide,
    Summary,
    Throughput,
    Tokens,
)
from mls.core.units import MS_PER_S, NS_PER_S


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run that its records lack.

    inflight: as asked for. clock: of arrivals. per_rank: cost of each rank. metrics_before,
    metrics_after: the server's `/metrics`, None when it has none. post: None when post-processing
    is off. telemetry: schema `TELEMETRY`, None when there is none. steady: whether the load keeps
    all places full (a closed loop without pauses). server_here: whether the server is on the host
    of the telemetry. slots: of the server, None where it doesn't say. reply_tokens: of replies that
    are made to go on, None where they end by themselves. own_replies: whether later turns of a
    conversation hold the server's own.
    """

    inflight: int
    clock: Literal["kernel", "user"]
    per_rank: list[RankCost]
    metrics_before: dict[str, float] | None
    metrics_after: dict[str, float] | None
    post: PostFacts | None = None
    telemetry: pa.Table | None = None
    steady: bool = True
    server_here: bool = True
    slots: int | None = None
    reply_tokens: int | None = None
    own_replies: bool = True
    workload: Workload = field(default_factory=Workload)
    template: Template = field(default_factory=Template)


def summarize(
    table: pa.Table,
    facts: RunFacts,
    over_time: Timeline | None = None,
    distributions: dict[str, Floats] | None = None,
) -> Summary:
    """The summary of one repeat. docs/METHODS.md defines its figures.

    table: schema `mls.core.record.REQUESTS`. over_time, distributions: its `timeline` and
    `samples`, where the caller has them.
    """
    ok = succeeded(table)
    if over_time is None:
        over_time = timeline(table, facts.inflight if facts.steady else None)
    course, window = over_time.in_flight, over_time.window
    wall_ns = int(course.at_ns[-1] - course.at_ns[0]) if len(course.at_ns) else 0
    by_name = series(facts.telemetry) if facts.telemetry is not None else {}
    values = dict(samples(table) if distributions is None else distributions)
    tokens = total(ints(table, "completion_tokens"), ok)
    span_ns = _span_ns(course)
    chunk_tokens = _tokens_per_chunk(table, ok)
    request_ns = float(np.dot(np.diff(course.at_ns), course.count[:-1])) if wall_ns else 0.0
    return Summary(
        requests=_requests(table, ok),
        wall_s=wall_ns / NS_PER_S,
        window_s=(window[1] - window[0]) / NS_PER_S if window else None,
        tokens=Tokens(
            prompt=total(ints(table, "prompt_tokens"), ok),
            completion=tokens,
            cached_prompt=total(ints(table, "cached_tokens"), ok),
        ),
        cache=Cache(
            share=_prompt_share_of(table, ok, "cached_tokens"),
            ideal_share=_ideal_share(table, ok, facts),
        ),
        tokens_per_chunk=chunk_tokens,
        unanswered=_unanswered(table, ok),
        speculation=by_requests(table),
        media=_media(table, ok),
        throughput=_within(table, ok, window),
        overall=Overall(
            requests_per_s=float(ok.sum() * NS_PER_S / wall_ns) if wall_ns else 0.0,
            completion_tokens_per_s=_rate_over(tokens, wall_ns),
        ),
        sessions=sessions(table, facts.own_replies),
        inflight=Inflight(
            asked=facts.inflight,
            achieved_littles_law=request_ns / wall_ns if wall_ns else None,
            achieved_time_weighted=course.mean(*window) if window else None,
            max=course.max,
        ),
        hang_ups=hang_ups(
            table,
            _counters(facts),
            facts.reply_tokens,
            chunk_tokens,
            fills_slots=facts.steady and facts.slots == facts.inflight,
        ),
        server=_server(table, ok, facts, by_name, _span_ns(course)),
        client=Client(
            cpu_s=sum(rank.cpu_s for rank in facts.per_rank),
            busiest_rank_cpu_fraction=max((r.cpu_fraction for r in facts.per_rank), default=0.0),
            loop_lag_ms=distribution(values.pop("loop_lag_ms")),
            clock=facts.clock,
            merged_chunks=int(lists(table, "chunk_merged").values.sum()),
            per_rank=facts.per_rank,
        ),
        gpu=summarize_cards(table, facts.post, by_name, span_ns, tokens or 0, facts.server_here),
        cpu=summarize_cpu(by_name, span_ns, tokens or 0) if facts.server_here else None,
        **{name: distribution(array) for name, array in values.items()},
    )


def _prompt_share_of(table: pa.Table, ok: Bools, column: str) -> float | None:
    """Tokens of the column over the prompt tokens; None when one of them is unknown."""
    tokens, prompt = (total(ints(table, name), ok) for name in (column, "prompt_tokens"))
    return tokens / prompt if tokens is not None and prompt else None


def _ideal_share(table: pa.Table, ok: Bools, facts: RunFacts) -> float | None:
    """The share that an ideal cache has; None where it isn't known of one of them."""
    ideal = ideal_cache(table, facts.workload, facts.template)
    prompt = total(ints(table, "prompt_tokens"), ok)
    if ideal is None or not prompt or np.isnan(ideal.tokens[ok]).any():
        return None
    return float(ideal.tokens[ok].sum() / prompt)


def _tokens_per_chunk(table: pa.Table, ok: Bools) -> float | None:
    """Completion tokens a content chunk of the successful replies that were streamed.

    A first chunk whose tokens the server tells is left out with them: it may stand for reasoning
    that was not sent. None without chunks, and when one of these replies has no count of tokens.
    """
    rows = ok & ~in_one_piece(table) & (lists(table, "chunk_ns").lengths > 0)
    tokens, first = total(ints(table, "completion_tokens"), rows), ints(table, "first_chunk_tokens")
    chunks = lists(table, "chunk_ns").lengths[rows].sum() - first.valid[rows].sum()
    if tokens is None or not chunks:
        return None
    return float((tokens - first.values[rows].sum()) / chunks)


def _media(table: pa.Table, ok: Bools) -> Media:
    parts, size = ints(table, "media_parts"), ints(table, "media_bytes")
    rows = ok & parts.valid
    if not rows.any():
        return Media()
    return Media(
        requests=int(rows.sum()),
        parts=total(parts, rows),
        bytes=total(size, rows),
    )


def _unanswered(table: pa.Table, ok: Bools) -> float | None:
    """Share of the successful replies that thought and have no answer; None where none thought."""
    if not (with_reasoning(table) & ok).any():
        return None
    return float((without_answer(table) & ok).sum() / ok.sum())


def _rate_over(tokens: int | None, wall_ns: int) -> float | None:
    if tokens is None:
        return None
    return float(tokens * NS_PER_S / wall_ns) if wall_ns else 0.0


def _span_ns(course: InFlight) -> tuple[int, int] | None:
    return (int(course.at_ns[0]), int(course.at_ns[-1])) if len(course.at_ns) else None


def _requests(table: pa.Table, ok: Bools) -> Requests:
    kinds = pc.value_counts(table.column("error").drop_null()).to_pylist()
    errors = {kind["values"]: kind["counts"] for kind in kinds}
    hung_up = errors.pop(CANCELLED, 0)
    return Requests(
        total=len(ok),
        ok=int(ok.sum()),
        error=int((~ok).sum()) - hung_up,
        cancelled=hung_up,
        errors=dict(sorted(errors.items())),
        retries=int(np.maximum(ints(table, "attempts").values - 1, 0).sum()),
        reconnects=int(ints(table, "reconnects").values.sum()),
    )


def _within(table: pa.Table, ok: Bools, window: tuple[int, int] | None) -> Throughput:
    if window is None:
        return Throughput(
            requests_per_s=None, completion_tokens_per_s=None, prompt_tokens_per_s=None
        )
    begin, end = window
    seconds = (end - begin) / NS_PER_S
    ends = ints(table, "end_ns").values
    prompts, completions = ints(table, "prompt_tokens"), ints(table, "completion_tokens")
    prompts_in_window = np.dot(np.where(ok, prompts.values, 0), _prompt_share(table, begin, end))
    completions_in_window = _completion_tokens(table, ok, begin, end)
    return Throughput(
        requests_per_s=float((ok & (ends > begin) & (ends <= end)).sum() / seconds),
        completion_tokens_per_s=float(completions_in_window / seconds)
        if completions.valid[ok].all()
        else None,
        prompt_tokens_per_s=float(prompts_in_window / seconds) if prompts.valid[ok].all() else None,
    )


def _completion_tokens(table: pa.Table, ok: Bools, begin: int, end: int) -> float:
    """Tokens that arrived in (begin, end]. A reply's tokens are spread evenly over its chunks.

    A reply in one piece was produced over its whole latency, not at the moment of its arrival. It
    counts with the share of its latency that lies within.
    """
    chunks = lists(table, "chunk_ns")
    inside = (chunks.values > begin) & (chunks.values <= end)
    arrivals = np.bincount(chunks.owner[inside], minlength=len(ok))
    whole = _share(ints(table, "start_ns").values, ints(table, "end_ns").values, begin, end)
    share = np.where(chunks.lengths > 1, arrivals / np.maximum(chunks.lengths, 1), whole)
    return float(np.dot(np.where(ok, ints(table, "completion_tokens").values, 0), share))


def _prompt_share(table: pa.Table, begin: int, end: int) -> Floats:
    """Share of each prompt read within, if read evenly from the start to the first chunk or end."""
    start, last = ints(table, "start_ns").values, ints(table, "end_ns").values
    first = ints(table, "first_chunk_ns")
    in_chunks = first.valid & (lists(table, "chunk_ns").lengths > 1)
    return _share(start, np.where(in_chunks, first.values, last), begin, end)


def _share(start: Ints, stop: Ints, begin: int, end: int) -> Floats:
    """The share of each [start, stop] that lies within [begin, end]."""
    inside = np.minimum(stop, end) - np.maximum(start, begin)
    return np.clip(inside, 0, None) / np.maximum(stop - start, 1)


def _counters(facts: RunFacts) -> ServerFigures:
    return ServerFigures(facts.metrics_before or {}, facts.metrics_after or {})


def _server(
    table: pa.Table,
    ok: Bools,
    facts: RunFacts,
    telemetry: dict[tuple[str, str], Series],
    span_ns: tuple[int, int] | None,
) -> ServerSide:
    course = courses(telemetry)
    prompts, cached_tokens = ints(table, "prompt_tokens"), ints(table, "cached_tokens")
    prompt = (
        prompts.values - cached_tokens.values
    )  # llama.cpp, which says how long it took, says both
    server = _counters(facts)
    timings = {
        "prefill_ms": _mean(floats(table, "server_prompt_ms")[ok]),
        "decode_ms": _mean(floats(table, "server_predicted_ms")[ok]),
    }
    times = server.means_ms(int(ok.sum())) | {
        figure: mean for figure, mean in timings.items() if mean is not None
    }
    return ServerSide(
        predicted_per_second=distribution(
            _rate(ints(table, "completion_tokens").values, floats(table, "server_predicted_ms"), ok)
        ),
        prompt_per_second=distribution(_rate(prompt, floats(table, "server_prompt_ms"), ok)),
        busy_slots=_busy_slots(server.before, server.after),
        deferred=server.gauge(server.profile.waiting),
        preemptions=server.growth(server.profile.preemptions),
        speculation=by_counters(server),
        running_max=highest(course.get("running"), span_ns),
        waiting_max=highest(course.get("waiting"), span_ns),
        kv_use_max=highest(course.get("kv_use"), span_ns),
        **times,
    )


def _mean(values: Floats) -> float | None:
    """None without values, and when one of them is unknown."""
    return float(values.mean()) if len(values) and not np.isnan(values).any() else None


def _rate(tokens: Ints, ms: Floats, ok: Bools) -> Floats:
    rows = ok & (ms > 0) & (tokens > 0)
    return tokens[rows] / ms[rows] * MS_PER_S


def _busy_slots(before: dict[str, float], after: dict[str, float]) -> float | None:
    """Mean busy slots a decode step of the run, taken out of the server's mean since its start."""
    mean, steps = "llamacpp:n_busy_slots_per_decode", "llamacpp:n_decode_total"
    if mean not in after:
        return None
    step_count = after.get(steps, 0) - before.get(steps, 0)
    if mean not in before or step_count <= 0:
        return after[mean]
    return (after[mean] * after[steps] - before[mean] * before.get(steps, 0)) / step_count
