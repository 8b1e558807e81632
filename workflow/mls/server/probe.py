"""The probe: a server's properties, and whether it can be benchmarked as the config asks."""

from __future__ import annotations

from typing import Any

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.sections.run import Run
from mls.config.settings import Settings, settings
from mls.core.errors import UserError, nearest
from mls.protocol.body import sample_body, without
from mls.protocol.prompts import prompt
from mls.protocol.replies import reply as parsed
from mls.protocol.values import storable
from mls.server import model_list, router
from mls.server.access import target_of, without_password
from mls.server.api import ServerApi
from mls.server.context_length import check_context, slots_warning
from mls.server.fields import refused_fields, with_counts
from mls.server.model_list import ListedModel
from mls.server.probe_result import Cache, Probe, Reply
from mls.server.several import differing
from mls.server.state import Answers, snapshot
from mls.server.tokenizer import prompt_counter

_SEED = 0
"""Seed of the probe's prompts."""

TOKENS_PER_WORD = 1.5  # An upper estimate, for servers without /tokenize
_SAMPLE_TOKENS = 16
_CONTENT_LENGTH = 200  # Characters of a reply


def probe_all(config: Config, model: str, urls: list[str]) -> Probe:
    """Probe one server, or several that should be alike: the first's probe has the `others` in it.

    Its warnings are those of all servers, and name the differences between them. Raises as `probe`
    does.
    """
    first, *others = [probe(config, model, url, len(urls)) for url in urls]
    if not others:
        return first
    own_warnings = dict.fromkeys(
        f"{one.url}: {text}" for one in (first, *others) for text in one.warnings
    )
    differences = differing([one.model_dump() for one in (first, *others)])
    warnings = [f"The servers differ in {name}: {', '.join(v)}." for name, v in differences.items()]
    return first.model_copy(update={"others": others, "warnings": [*warnings, *own_warnings]})


def probe(config: Config, model: str, url: str, servers: int = 1) -> Probe:
    """Probe the server at `url` for all cells of a model of the config.

    servers: number of servers alike. The requests are of the run's form. Raises `UserError` when
    the server can't be reached, refuses the key, isn't a completion server, has another model, or
    has too little context.
    """
    points = [settings(config, cell, 1) for cell in cells(config) if cell["model"] == model]
    if not points:
        raise UserError(
            f"Model {model!r} is not in the sweep{nearest(model, config.models)}; "
            "give a name from `models`."
        )
    first = points[0]
    target = target_of(url, first.server, first.run)
    api = ServerApi(target, run=first.run, metrics_url=first.server.metrics_url)
    models = api.models()
    served_as = first.served_as or model_list.model_to_ask_for(models, first.run)
    try:
        props = api.props()
        cold_load_s = router.enter_one(api, props, first.run, served_as)
    except UserError as error:
        raise model_list.explain(error, model, first.served_as, served_as, models) from None
    if router.is_router(props):  # the model's own from here on
        props = api.props()
    slots = api.slots()
    state = snapshot(api, served_as, Answers(props, slots, models))
    tokens, is_exact = _prompt_tokens(api, points, served_as)
    check_context(config, points, tokens, state["ctx_per_slot"])

    runs = _shortest_runs(points)
    salted = not first.server.starts_llama_cpp
    try:
        refusals = {run.endpoint: refused_fields(api, run, served_as) for run in runs}
        runs = [without(run, refusals[run.endpoint]) for run in runs]
        replies = [
            _reply(api, run, served_as, stream, salted) for run in runs for stream in (False, True)
        ]
    except UserError as error:
        raise model_list.explain(error, model, first.served_as, served_as, models) from None
    (once, _), (_, last) = replies[:2]
    if once.prompt_tokens is not None:
        # What a counter without the template leaves out
        extra = max(0, once.prompt_tokens - tokens[runs[0].prompt_words])
        tokens = {words: number + extra for words, number in tokens.items()}
        check_context(config, points, tokens, state["ctx_per_slot"])

    counting = any(
        with_counts(api, run, served_as, sample) is not run
        for run, (_, sample) in zip(runs, replies[1::2], strict=True)
    )
    cache = Cache(cache_prompt=runs[0].cache_prompt, cached_tokens=last.cached_tokens)
    answers = {
        "/health": state["health"],
        "/v1/models": models,
        "/props": props,
        "/slots": slots,
        "/metrics": state["metrics"],
        "/tokenize": is_exact or None,
        **{reply.endpoint: reply for reply, _ in replies},
    }
    return Probe(
        url=url,
        model=model,
        served_as=served_as,
        engine=state["engine"],
        health=state["health"],
        models=None if models is None else model_list.names(models),
        build=state["build"] or last.fingerprint,
        model_path=state["model_path"],
        slots=state["slots"],
        ctx_per_slot=state["ctx_per_slot"],
        chat_template=state["chat_template"],
        endpoints={path: answer is not None for path, answer in answers.items()},
        streaming=all(reply.streamed for reply, _ in replies if reply.stream)
        and any(reply.stream for reply, _ in replies),
        prompt_tokens=tokens,
        prompt_tokens_measured=is_exact,
        replies=[reply for reply, _ in replies],
        refused=sorted({name for names in refusals.values() for name in names}),
        cache=cache,
        warnings=[
            *_left_out(refusals),
            *_count_warnings(counting),
            *slots_warning(config, points, state["slots"], servers),
            *_proxy_warnings(target.proxy),
            *_load_warnings(cold_load_s),
            *_name_warnings(model, first.served_as, models),
            *_warnings(points, state, cache, [reply for reply, _ in replies]),
        ],
    )


def _load_warnings(cold_load_s: float | None) -> list[str]:
    if cold_load_s is None:
        return []
    return [
        f"The router loaded the model first, which took {cold_load_s:.1f} s: that is in no figure."
    ]


def _proxy_warnings(proxy: str | None) -> list[str]:
    if proxy is None:
        return []
    return [f"Requests go through the proxy {without_password(proxy)}: its time is in all figures."]


def _name_warnings(
    model: str, served_as: str | None, models: list[ListedModel] | None
) -> list[str]:
    if not served_as or not models or model_list.is_listed(served_as, models):
        return []
    absence = model_list.unlisted(model, served_as, models)
    return [f"Requests are answered, but {absence}, if it isn't the one that is meant."]


def _prompt_tokens(
    api: ServerApi, points: list[Settings], served_as: str | None
) -> tuple[dict[int, int], bool]:
    """(`prompt_words` → tokens of a sample prompt; whether the server counted them)."""
    lengths = {point.run.prompt_words for point in points}
    counter = prompt_counter(api, points[0].run, points[0].workload.system, served_as)
    # Without its template, what the template adds is in the difference to a reply's `usage`
    count_text = counter or api.tokenize
    counts = {words: count_text(prompt(_SEED, 0, words)) for words in lengths}
    tokens = {
        words: round(words * TOKENS_PER_WORD) if number is None else number
        for words, number in counts.items()
    }
    return tokens, None not in counts.values()


def _shortest_runs(points: list[Settings]) -> list[Run]:
    """The run with the shortest prompt for each endpoint, with the longest of all time limits."""
    by_length = sorted((point.run for point in points), key=lambda run: -run.prompt_words)
    patient = {"timeout_s": max(run.timeout_s for run in by_length)}
    return [run.model_copy(update=patient) for run in {r.endpoint: r for r in by_length}.values()]


def _reply(
    api: ServerApi, run: Run, served_as: str | None, stream: bool, salted: bool
) -> tuple[Reply, parsed.Reply]:
    changes = {"stream": stream, "max_tokens": min(run.max_tokens, _SAMPLE_TOKENS)}
    short = run.model_copy(update=changes)
    text = prompt(_SEED, 0, run.prompt_words)
    body = sample_body(short, served_as, text, salted)
    answer = api.complete(run.endpoint, body, run.timeout_s)
    reply = Reply(
        endpoint=run.endpoint,
        stream=stream and not run.embeds,
        streamed=answer.streamed,
        mislabelled=answer.mislabelled,
        content=_beginning(answer),
        chunks=len(answer.chunk_reads),
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        usage=storable(answer.usage),
        timings=storable(answer.timings),
    )
    return reply, answer


def _beginning(answer: parsed.Reply) -> str:
    if answer.embedding is not None:
        return f"an embedding of length {answer.embedding}"
    if answer.scores is not None:
        return f"scores of {answer.scores} documents"
    return answer.hide(answer.content)[:_CONTENT_LENGTH]  # A key may come in several chunks


def _tokens(reply: Reply) -> int | None:
    """The tokens that throughput counts: a completion's, or an embedding's prompt; None unknown."""
    embeds = Run(endpoint=reply.endpoint).embeds
    return reply.prompt_tokens if embeds else reply.completion_tokens


def _left_out(refusals: dict[str, tuple[str, ...]]) -> list[str]:
    """Warnings about the fields that the server refuses. refusals: endpoint → fields."""
    texts = []
    for endpoint, names in refusals.items():
        others = [name for name in names if name != "max_tokens"]
        if others:
            texts.append(
                f"{endpoint} refuses {', '.join(others)}: left out of every request, so what they "
                "ask for can't be ensured."
            )
        if len(others) < len(names):
            texts.append(f"{endpoint} refuses max_tokens: max_completion_tokens is sent instead.")
    return texts


def _count_warnings(counting: bool) -> list[str]:
    if not counting:
        return []
    return [
        "Its chunks hold several tokens, so ITL is not the time of one; runs have it count them in "
        "each chunk (continuous_usage_stats), for TPOT."
    ]


def _warnings(
    points: list[Settings], state: dict[str, Any], cache: Cache, replies: list[Reply]
) -> list[str]:
    texts = []
    if any(reply.stream and not reply.streamed for reply in replies):
        texts.append("The server doesn't stream: TTFT, ITL and TPOT can't be measured.")
    for reply in replies:
        if reply.mislabelled:
            form = "a stream of events" if reply.streamed else "a reply in one piece"
            texts.append(
                f"The server sends {form} as {reply.mislabelled}: it is read by what it is; other "
                "clients may not."
            )
    if any(_tokens(reply) is None for reply in replies):
        texts.append("The server gives no `usage`: tokens can't be counted.")
    if not cache.cache_prompt and cache.cached_tokens:
        texts.append(
            f"The server reuses its prompt cache ({cache.cached_tokens} tokens of a prompt sent "
            "twice) although run.cache_prompt is false."
        )
    if state["chat_template"] is False and any(point.run.chats for point in points):
        texts.append("The model has no chat template: its replies may be noise, its speed is real.")
    max_tokens = min(points[0].run.max_tokens, _SAMPLE_TOKENS)
    short = [r for r in replies if r.completion_tokens and r.completion_tokens < max_tokens]
    if short and all(point.run.ignore_eos for point in points):
        texts.append(
            f"The server ended a reply after {short[0].completion_tokens} of {max_tokens} tokens "
            "although run.ignore_eos is true: replies will differ in length."
        )
    return texts
