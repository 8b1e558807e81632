"""The plan of a sweep in words: when requests were sent, their contents, and the CPUs."""

from __future__ import annotations

from statistics import fmean
from typing import Any, assert_never

from mls.analysis.study import Study
from mls.config.axes import CANCEL_SHARE
from mls.config.config import Config
from mls.config.sections.load import think_time
from mls.config.sections.workload import Durations
from mls.core.units import MIB

_KINDS = {
    "constant": "requests at equal distances",
    "poisson": "Poisson arrivals",
    "gamma": "arrivals with gamma-distributed gaps",
    "burst": "bursts of requests",
    "stages": "stages one after another",
    "trace": "the arrivals of a trace",
}


def load_words(config: Config) -> str:
    """The load as a sentence, and the beginning of the next sentence."""
    load, run = config.load, config.run
    if load.open:
        rate = f" at {load.rate:g} requests/s" if load.rate else ""
        how = f"An open loop: {_KINDS[load.kind]}{rate}, fixed beforehand, which wait for no reply."
    else:
        think = think_time(load, config.workload)
        pause = "" if think.never else _duration_words(think)
        when = f"{pause} after" if pause else "as soon as"
        how = (
            f"A closed loop: each of the inflight places sends its next request {when} the reply to "
            f"the last one {'was' if pause else 'is'} complete."
        )
    count = load.requests(run)
    what = "requests"
    if config.workload.in_sessions:
        what = "conversations" if config.workload.converses else "sessions"
    if run.rounds:
        many = f"{run.rounds} × inflight {what}"
        many += f", but at least {run.iters}," if run.iters else ""
    elif count:
        many = f"{count} {what}"
    elif run.duration_s:
        many = f"Requests for {run.duration_s:g} s"
    else:
        many = "As many requests as the load has"
    return f"{how} {many} a repeat,"


def _duration_words(durations: Durations) -> str:
    if durations.value is not None:
        return f"{durations.value:g} s"
    if durations.distribution == "uniform":
        return f"{durations.min:g} to {durations.max:g} s"
    if durations.distribution == "lognormal":
        return (
            f"{durations.mean:g} s on average (lognormal, standard deviation {durations.std:g} s)"
        )
    return f"{fmean(durations.values):g} s on average (of {len(durations.values)} durations)"


def loop_words(config: Config) -> str:
    """The kind of load in a few words."""
    load = config.load
    return f"an open loop ({_KINDS[load.kind]})" if load.open else "a closed loop"


def reply_words(study: Study) -> str:
    """The lengths of the replies, and the server's prompt cache, in words."""
    config = study.config
    run = config.run
    if run.embeds:
        return "replies were embeddings"
    tokens = "as the workload says" if config.workload.output_tokens else "asked for"
    count = "" if config.workload.output_tokens else f"{run.max_tokens} "
    early = ", without stopping early" if run.ignore_eos else ""
    left = _cancel_words(config)
    return f"{count}completion tokens {tokens}{early}{left}; prompt cache {_cache_words(study)}"


def _cancel_words(config: Config) -> str:
    """The requests that users leave, as a clause."""
    cancel = config.run.cancel
    if cancel is None:
        return ""
    shares = config.sweep.get(CANCEL_SHARE) or [cancel.share]
    return f"; the client hung up on {' or '.join(f'{share:.0%}' for share in shares)} of the requests after {_duration_words(cancel.after_s)}"


def _cache_words(study: Study) -> str:
    if study.config.run.cache_prompt:
        return "on"
    # A server that doesn't count cached tokens may have a cache that can't be switched off
    silent = any(cell.checks("unknown").get("cache_as_asked") for cell in study.cells)
    return "asked to be off, of which the server doesn't say anything" if silent else "off"


def prompt_words(config: Config) -> str:
    """The prompts, in words."""
    workload = config.workload
    lengths = workload.prompt_tokens
    tokens = f"{lengths.value} tokens" if lengths.value else f"{lengths.distribution} lengths"
    differ = "different for each request and each repeat"
    match workload.kind:
        case "words":
            return f"prompts of {config.run.prompt_words} words, {differ}"
        case "synthetic":
            return f"prompts of {tokens}, {differ}"
        case "text":
            return f"prompts of {tokens} of {', '.join(workload.categories)}, {differ}"
        case "shared_prefix":
            groups = f"{workload.groups} groups that share their first {workload.prefix_tokens}"
            return f"prompts of {tokens} in {groups}"
        case "depth":
            return f"prompts of {tokens} after others that are in the cache, {differ}"
        case "blocks":
            return (
                f"prompts that share blocks of {workload.block_tokens} tokens as the trace has them"
            )
        case "conversation" if workload.file:
            own = "the server's own" if workload.history == "own" else "the file's"
            return (
                f"the conversations of {workload.file}, with {own} replies in what was said before"
            )
        case "conversation":
            return f"conversations of {workload.turns} turns, {tokens} each"
        case "dataset":
            return f"prompts from {workload.file}{_media_words(workload.media)}"
        case "replay":
            return f"the prompts of {workload.file}"
        case _:
            assert_never(workload.kind)


def _media_words(folder: str | None) -> str:
    return f" with images and audio of {folder}" if folder else ""


def workload_notes(study: Study) -> list[str]:
    """Sentences on the workload's files, such as how many rows were left out; each once."""
    results = [r.result for cell in study.cells for r in cell.ok if r.result]
    notes = [note for result in results for note in result.workload.get("notes") or ()]
    media = [result.summary.media for result in results if result.summary.media.parts]
    if media:
        sizes = [each.bytes for each in media]
        size = "" if None in sizes else f", {sum(filter(None, sizes)) / MIB:.3g} MiB"
        notes.append(
            f"{sum(each.requests or 0 for each in media)} of "
            f"{sum(result.summary.requests.ok for result in results)} successful requests had "
            f"images or audio: {sum(each.parts or 0 for each in media)} in all{size}."
        )
    return list(dict.fromkeys(notes))


def pin_words(cpus: dict[str, Any]) -> str:
    """The CPUs of server and ranks, by `host.pinned` of a run, as a sentence."""
    server, ranks = cpus["server"], cpus["ranks"]
    if server and ranks:
        return f"The server ran on CPUs {server} of the host, the ranks on CPUs {ranks}."
    if server or ranks:
        who = f"The server ran on CPUs {server}" if server else f"The ranks ran on CPUs {ranks}"
        return f"{who} of the host; the {'ranks were' if server else 'server was'} not pinned."
    return f"Server and ranks were not kept on CPUs of their own: {cpus['why'] or 'not asked'}."
