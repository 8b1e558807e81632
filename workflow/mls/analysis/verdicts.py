"""Can the figures of one repeat be believed? One verdict for each way in which they could not.

Each check is a function of the `Evidence`; thresholds come from the config's `checks`.
"""

from __future__ import annotations

import numpy as np

from mls.analysis.agreement import clocks_agree
from mls.analysis.asked import prompts_as_asked, replies_asked
from mls.analysis.books import books_agree, server_time_fits
from mls.analysis.card import POWER_CAP
from mls.analysis.columns import ints, succeeded
from mls.analysis.evidence import Evidence, Status, verdict
from mls.analysis.pace import capped, pace_held
from mls.analysis.quiet import quiet_host
from mls.analysis.samples import of_requests
from mls.analysis.servers import fair_servers
from mls.analysis.steadiness import window_alike
from mls.analysis.support import least_samples, unseen_share
from mls.model.record import FINISHED_BY_LENGTH
from mls.model.result import Verdict

CARD_SAMPLES = least_samples(90)
"""With fewer, clocks that are slowed a tenth of the time may be in none of them."""


def judge(given: Evidence) -> list[Verdict]:
    """All verdicts on one repeat, always in the same order; those on cards and on clocks only where there are any."""
    card = [_card_at_full_clocks(given)] if given.summary.gpu and given.summary.gpu.devices else []
    return [
        _errors(given),
        pace_held(given) or _concurrency_held(given),
        _client_kept_up(given),
        _arrival_clock(given),
        _cache_as_asked(given),
        _work_as_asked(given),
        *prompts_as_asked(given),
        books_agree(given),
        server_time_fits(given),
        *window_alike(given),
        *fair_servers(given),
        quiet_host(given),
        *clocks_agree(given),
        *card,
    ]


def _errors(given: Evidence) -> Verdict:
    requests, allowed = given.summary.requests, given.checks.error_rate
    rate = requests.error / requests.total if requests.total else 1.0
    kinds = ", ".join(f"{count} × {kind}" for kind, count in requests.errors.items())
    if not requests.total:
        message = "No request was sent."
    elif not requests.error:
        message = (
            f"All {requests.total} requests succeeded; a server that fails fewer than "
            f"{unseen_share(requests.total):.1%} of them may look so by chance."
        )
    else:
        message = f"{requests.error} of {requests.total} requests failed ({kinds})."
    status: Status = "pass" if not rate else "warn" if rate <= allowed else "fail"
    return verdict("errors", status, rate, allowed, message)


def _concurrency_held(given: Evidence) -> Verdict:
    held, sent = given.summary.inflight, given.summary.requests.total
    least = held.asked * (1 - given.checks.inflight_tolerance)
    if held.max < held.asked:
        few = f"; with only {sent} requests there can't be more" if sent <= held.max else ""
        message = (
            f"{held.asked} requests in flight were asked for, but there were never more than "
            f"{held.max}{few}: these figures are not those of inflight {held.asked}."
        )
        return verdict("concurrency_held", "fail", held.achieved_littles_law, least, message)
    if held.achieved_time_weighted is None:
        message = (
            f"{held.asked} requests were in flight at once, but no further request was started "
            "after that, so there is no steady window: send more requests to measure rates."
        )
        return verdict("concurrency_held", "warn", held.achieved_littles_law, least, message)
    kept = held.achieved_time_weighted >= least
    message = (
        f"In the window {held.achieved_time_weighted:.2f} of {held.asked} requests "
        f"were in flight on average{'.' if kept else ': the client did not keep the server busy.'}"
    )
    status: Status = "pass" if kept else "fail"
    return verdict("concurrency_held", status, held.achieved_time_weighted, least, message)


def _client_kept_up(given: Evidence) -> Verdict:
    client, checks = given.summary.client, given.checks
    busy, lag = client.busiest_rank_cpu_fraction, client.loop_lag_ms.p99
    if busy > checks.client_cpu_fraction:
        message = (
            f"The busiest rank used {busy:.0%} of a core: the client may be what was measured; "
            "use more ranks."
        )
        return verdict("client_kept_up", "fail", busy, checks.client_cpu_fraction, message)
    if client.clock == "user":
        message = (
            f"The busiest rank used {busy:.0%} of a core; how late the client read the replies "
            "isn't known, as there are no kernel timestamps to compare with."
        )
        return verdict("client_kept_up", "unknown", None, checks.client_lateness, message)
    # behind the cap of an open loop, it is the cap that makes requests late
    lateness = None if capped(given) else _mean_lateness(given)
    latency = given.summary.latency_ms.mean
    if capped(given) and latency:
        message = (
            f"The busiest rank used {busy:.0%} of a core. Requests waited for load.max_inflight, so "
            "their lateness doesn't say whether they waited for the client, too: raise the cap to tell."
        )
        return verdict("client_kept_up", "unknown", busy, checks.client_cpu_fraction, message)
    if lateness is None or not latency:
        message = (
            "No request succeeded after another at its place, so there is nothing to tell it from: "
            "send more (run.rounds)."
        )
        return verdict("client_kept_up", "unknown", None, checks.client_lateness, message)
    # arrival times are the kernel's: all that a late client changes is when the next request starts
    share = lateness / latency
    late = share > checks.client_lateness
    read = (  # embeddings have no chunks
        ""
        if lag is None
        else f"99 % of the chunks were read within {lag:.2g} ms of their arrival, "
    )
    message = (
        f"A request that was due waited {lateness:.2g} ms for its start, {share:.2%} of the mean "
        f"latency; {read}and the busiest rank used {busy:.0%} of a core"
        f"{': the server had less to do than was asked for.' if late else '.'}"
    )
    status: Status = "fail" if late else "pass"
    return verdict("client_kept_up", status, share, checks.client_lateness, message)


def _mean_lateness(given: Evidence) -> float | None:
    """Of successful requests in ms; in a closed loop of those that followed another at their place.

    The first at each place waited for none, and with few rounds they would hide what the others did.
    """
    table, counts = given.table, succeeded(given.table)
    if not given.load.open:
        place = ints(table, "rank").values << 32 | ints(table, "slot").values
        start = ints(table, "start_ns").values
        order = np.lexsort((start, place))
        first = np.ones(len(order), np.bool_)
        first[1:] = place[order][1:] != place[order][:-1]
        counts[order[first]] = False
    lateness = of_requests(table)["lateness_ms"][counts]
    known = lateness[~np.isnan(lateness)]
    return float(known.mean()) if len(known) else None


def _arrival_clock(given: Evidence) -> Verdict:
    clock = given.summary.client.clock
    if clock == "kernel":
        return verdict(
            "arrival_clock", "pass", clock, "kernel", "Arrival times come from the kernel."
        )
    message = (
        "Arrival times were taken by the client when it read, not by the kernel: "
        "the client's own delays are in them."
    )
    return verdict("arrival_clock", "warn", clock, "kernel", message)


def _cache_as_asked(given: Evidence) -> Verdict:
    silent = _silent(given, "cached_tokens")
    tokens = given.summary.tokens
    if silent and not tokens.cached_prompt:
        message = f"The server doesn't say how much of {silent} prompts it took from its cache."
        return verdict("cache_as_asked", "unknown", None, None, message)
    share = tokens.cached_prompt / tokens.prompt if tokens.prompt else 0.0
    said = f"{tokens.cached_prompt} of {tokens.prompt} prompt tokens came from the server's cache"
    if given.run.cache_prompt:
        status: Status = "pass" if tokens.cached_prompt else "warn"
        return verdict("cache_as_asked", status, share, None, f"{said}; caching was asked for.")
    if tokens.cached_prompt:
        message = f"{said} although caching was off: TTFT is better than it should be."
        return verdict("cache_as_asked", "fail", share, 0.0, message)
    return verdict("cache_as_asked", "pass", share, 0.0, "No prompt came from the server's cache.")


def _work_as_asked(given: Evidence) -> Verdict:
    tokens = ints(given.table, "completion_tokens")
    told = tokens.valid & succeeded(given.table)
    asked = given.run.max_tokens
    if given.run.embeds:
        message = "The replies are embeddings: there are no tokens of theirs to count."
        return _cut_prompts(given) or verdict("work_as_asked", "pass", None, None, message)
    silent = _silent(given, "completion_tokens")
    if not told.any():
        message = "The server doesn't say how many tokens its replies have."
        return verdict("work_as_asked", "unknown", None, float(asked), message)
    cut = _cut_prompts(given)
    if cut is not None:
        return cut
    lengths, each = tokens.values[told], replies_asked(given)[told]
    mean, asked = float(lengths.mean()), int(each.max())
    longer, shorter = int((lengths > each).sum()), int((lengths < each).sum())
    wanted = f"the {asked}" if (each == asked).all() else "the number of"
    if longer:
        message = f"{longer} of {len(lengths)} replies are longer than {wanted} tokens asked for."
        return verdict("work_as_asked", "fail", float(lengths.max()), float(asked), message)
    if given.run.ignore_eos and shorter:
        message = (
            f"{shorter} of {len(lengths)} replies are shorter than {wanted} tokens asked for "
            f"(shortest {lengths.min()}){_ended_by(given)}: requests did not do equal work."
        )
        return verdict("work_as_asked", "fail", float(lengths.min()), float(asked), message)
    if silent:
        message = f"The server doesn't say how many tokens {silent} replies have; the other {len(lengths)} have as many as asked for."
        return verdict("work_as_asked", "unknown", mean, float(asked), message)
    if shorter:
        message = (
            f"Replies may end early, as asked: {mean:.1f} of {each.mean():.1f} tokens on average."
        )
    else:
        message = f"All replies have {wanted} tokens asked for."
    return verdict("work_as_asked", "pass", mean, float(asked), message)


def _silent(given: Evidence, column: str) -> str:
    """How many replies lack a figure of the server's, in words; empty when none does."""
    ok = succeeded(given.table)
    lacking = int((ok & ~ints(given.table, column).valid).sum())
    if not lacking and ok.any():
        return ""
    return "its" if lacking == ok.sum() else f"{lacking} of {ok.sum()}"


def _cut_prompts(given: Evidence) -> Verdict | None:
    """A failed verdict when prompts have fewer tokens than words: something cut them."""
    if given.workload.kind != "words":
        return None
    tokens = ints(given.table, "prompt_tokens")
    told = tokens.values[tokens.valid & succeeded(given.table)]
    words = given.run.prompt_words
    short = int((told < words).sum())
    if not short:
        return None
    message = (
        f"{short} of {len(told)} prompts of {words} words had fewer tokens than that at the server "
        f"(least {told.min()}): it did not read them whole."
    )
    return verdict("work_as_asked", "fail", float(told.min()), float(words), message)


def _ended_by(given: Evidence) -> str:
    """` by "stop"`: reasons, other than the limit, that the server gave for ending replies."""
    reasons = given.table.column("finish_reason").filter(succeeded(given.table)).unique()
    others = sorted({str(r) for r in reasons.to_pylist() if r} - {FINISHED_BY_LENGTH})
    return f", ended by {' and '.join(others)}" if others else ""


def _card_at_full_clocks(given: Evidence) -> Verdict:
    card = given.summary.gpu
    if card is None or card.throttled_share is None:
        message = "The card doesn't say whether its clocks were slowed."
        return verdict("card_at_full_clocks", "unknown", None, 0.0, message)
    share, clock, least = card.throttled_share, card.sm_share_of_max, given.checks.card_clock
    if not share and clock is not None and clock < least:
        message = (
            f"The card's SM clock was {clock:.0%} of its highest, and the card names no reason: "
            "clocks may have been set (`nvidia-smi -rgc` lets them go)."
        )
        return verdict("card_at_full_clocks", "warn", clock, least, message)
    sampled = card.sm_mhz.n // len(card.devices) if card.sm_mhz else CARD_SAMPLES
    if not share and sampled < CARD_SAMPLES:
        message = (
            f"Only {sampled} samples of the card's clocks were taken, which may have missed slowed "
            f"clocks: {CARD_SAMPLES} would tell; measure longer."
        )
        return verdict("card_at_full_clocks", "unknown", share, 0.0, message)
    if not share:
        at = "" if clock is None else f"; its SM clock was {clock:.0%} of its highest"
        message = f"No sample of the card shows slowed clocks{at}."
        return verdict("card_at_full_clocks", "pass", share, 0.0, message)
    # a power cap is how cards are run; heat and their own protection are faults of the host
    status: Status = "warn" if card.throttle_reasons == [POWER_CAP] else "fail"
    message = (
        f"The card's clocks were slowed in {share:.0%} of the samples "
        f"({', '.join(card.throttle_reasons)}): a cooler or better fed card would be faster."
    )
    return verdict("card_at_full_clocks", status, share, 0.0, message)
