"""Were prompts and replies as the workload asks: their lengths, and the use of the cache?"""

from __future__ import annotations

import numpy as np

from mls.analysis.repeat.columns import Ints, cancelled, ints, succeeded
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.record import FINISHED_BY_LENGTH
from mls.core.run_result import Verdict

_APPROXIMATE = 0.1


def prompts_as_asked(evidence: Evidence) -> list[Verdict]:
    """One verdict on the prompts whose length is asked for in tokens; none when there are none."""
    targets, lengths = (
        ints(evidence.table, "prompt_tokens_asked"),
        ints(evidence.table, "prompt_tokens"),
    )
    with_target = targets.valid & succeeded(evidence.table)
    rows = with_target & lengths.valid
    if not with_target.any():
        return []
    if not rows.any():
        message = "The server doesn't say how many tokens its prompts have."
        return [verdict("prompts_as_asked", "unknown", None, None, message)]
    off = abs(lengths.values[rows] - targets.values[rows])
    share = float((off / targets.values[rows]).max())
    wrong = int((off > 0).sum())
    silent = int(with_target.sum()) - len(off)
    if silent and not wrong:
        message = (
            f"The server doesn't say how many tokens {silent} of {int(with_target.sum())} prompts have; the "
            "others have exactly those asked for."
        )
        return [verdict("prompts_as_asked", "unknown", share, 0.0, message)]
    if not wrong:
        message = (
            f"All {len(off)} prompts have exactly the tokens asked for, by the server's count."
        )
    else:
        message = (
            f"{wrong} of {len(off)} prompts differ from the tokens asked for, by up to {off.max()} "
            f"({share:.1%}): their lengths are approximate."
        )
    status: Status = "pass" if not wrong else "warn" if share <= _APPROXIMATE else "fail"
    return [verdict("prompts_as_asked", status, share, 0.0, message)]


def cache_as_asked(evidence: Evidence) -> Verdict | None:
    """Whether prompt tokens came from the server's cache, by its replies, else by its counter.

    Of prompts at a depth `depth_as_asked` says more.
    """
    if evidence.workload.kind == "depth":
        return None
    silent = _silent_replies(evidence, "cached_tokens")
    ok = succeeded(evidence.table)
    # What some replies say is certain, whatever others leave out
    cached = int(ints(evidence.table, "cached_tokens").values[ok].sum())
    prompt = int(ints(evidence.table, "prompt_tokens").values[ok].sum())
    by_counter = False
    if silent and not cached:
        growth, prompt = _cached_growth(evidence, prompt)
        if growth is None:
            message = f"The server doesn't say how much of {silent} prompts it took from its cache"
            if "cache_prompt" in evidence.left_out:
                message += ", and refuses cache_prompt"
            return verdict("cache_as_asked", "unknown", None, None, f"{message}.")
        cached, by_counter = growth, True
    share = cached / prompt if prompt else 0.0
    share_text = f"{cached} of {prompt} prompt tokens came from the server's cache"
    if by_counter:
        share_text = f"By its counter, {share_text}"
    if evidence.run.cache_prompt:
        if not cached and _shares_nothing(evidence):
            message = (
                "No prompt came from the server's cache; none shares a beginning with another that had "
                "been read when it was sent."
            )
            return verdict("cache_as_asked", "pass", share, None, message)
        status: Status = "pass" if cached else "warn"
        return verdict(
            "cache_as_asked", status, share, None, f"{share_text}; caching was asked for."
        )
    if cached:
        message = f"{share_text} although caching was off: TTFT is better than it should be."
        return verdict("cache_as_asked", "fail", share, 0.0, message)
    message = "By its counter, no prompt" if by_counter else "No prompt"
    return verdict("cache_as_asked", "pass", share, 0.0, f"{message} came from the server's cache.")


def _shares_nothing(evidence: Evidence) -> bool:
    """Whether even an ideal cache has none of the prompts; False where that isn't known."""
    ideal, rows = evidence.ideal_cache, succeeded(evidence.table)
    return ideal is not None and bool(rows.any()) and not ideal.due[rows].any()


def _cached_growth(evidence: Evidence, prompt: int) -> tuple[int | None, int]:
    """(prompt tokens from the cache by the server's counter, those of all prompts that it may be of).

    prompt: tokens of the prompts of successful requests. The counter has those of requests that were
    hung up on, too. None without one, and where it may have some of others; 0 is 0 whoever used it.
    """
    server = evidence.server_figures
    growth = server.growth(server.profile.cached_tokens)
    hung_up = cancelled(evidence.table)
    if not growth:
        return growth, prompt
    counted, asked = (
        ints(evidence.table, name) for name in ("prompt_tokens", "prompt_tokens_asked")
    )
    sizes = np.where(counted.valid, counted.values, asked.values)[hung_up]
    if not (counted.valid | asked.valid)[hung_up].all():
        return None, prompt
    sent = prompt + int(sizes.sum())
    read = server.growth(server.profile.prompt_tokens)
    return (None if read is not None and read > sent else growth), sent


def work_as_asked(evidence: Evidence) -> Verdict:
    tokens = ints(evidence.table, "completion_tokens")
    rows = tokens.valid & succeeded(evidence.table)
    limit = evidence.run.max_tokens
    if evidence.run.embeds:
        message = "The replies are embeddings or scores: there are no tokens of theirs to count."
        return _cut_prompts(evidence) or verdict("work_as_asked", "pass", None, None, message)
    if (cut := _cut_replies(evidence)) is not None:
        return cut
    silent = _silent_replies(evidence, "completion_tokens")
    if not rows.any():
        message = "The server doesn't say how many tokens its replies have."
        return verdict("work_as_asked", "unknown", None, float(limit), message)
    failure = _cut_prompts(evidence)
    if failure is not None:
        return failure
    lengths, limits = tokens.values[rows], _length_limits(evidence)[rows]
    mean, limit = float(lengths.mean()), int(limits.max())
    longer, shorter = int((lengths > limits).sum()), int((lengths < limits).sum())
    limit_text = f"the {limit}" if (limits == limit).all() else "the number of"
    if longer:
        message = (
            f"{longer} of {len(lengths)} replies are longer than {limit_text} tokens asked for."
        )
        return verdict("work_as_asked", "fail", float(lengths.max()), float(limit), message)
    if evidence.run.ignore_eos and shorter:
        message = (
            f"{shorter} of {len(lengths)} replies are shorter than {limit_text} tokens asked for "
            f"(shortest {lengths.min()}){_finish_reasons(evidence)}: requests did not do equal work"
        )
        at_will = [name for name in ("ignore_eos", "min_tokens") if name in evidence.left_out]
        if at_will:  # nothing that a user could mend
            message += f", which can't be ensured as the server refuses {' and '.join(at_will)}"
        status: Status = "warn" if at_will else "fail"
        return verdict("work_as_asked", status, float(lengths.min()), float(limit), f"{message}.")
    if silent:
        message = f"The server doesn't say how many tokens {silent} replies have; the other {len(lengths)} have as many as asked for."
        return verdict("work_as_asked", "unknown", mean, float(limit), message)
    if shorter:
        message = (
            f"Replies may end early, as asked: {mean:.1f} of {limits.mean():.1f} tokens on average."
        )
    else:
        message = f"All replies have {limit_text} tokens asked for."
    return verdict("work_as_asked", "pass", mean, float(limit), message)


def _silent_replies(evidence: Evidence, column: str) -> str:
    """The number of replies that lack a figure of the server, in words; empty when none does."""
    ok = succeeded(evidence.table)
    silent = int((ok & ~ints(evidence.table, column).valid).sum())
    if not silent and ok.any():
        return ""
    return "its" if silent == ok.sum() else f"{silent} of {ok.sum()}"


def _cut_replies(evidence: Evidence) -> Verdict | None:
    """A failure when replies lack the finish reason that others have; None where all are alike."""
    reasons = evidence.table.column("finish_reason").filter(succeeded(evidence.table))
    cut = reasons.null_count
    if cut in (0, len(reasons)):
        return None
    message = (
        f"{cut} of {len(reasons)} replies ended without a finish reason, which the others have: the "
        "server cut them off, as some do when the next request comes. Requests did not do equal work."
    )
    return verdict("work_as_asked", "fail", float(cut), 0.0, message)


def _cut_prompts(evidence: Evidence) -> Verdict | None:
    """A failure when prompts have fewer tokens than words, since something cut them; else None."""
    if evidence.workload.kind != "words":
        return None
    tokens = ints(evidence.table, "prompt_tokens")
    lengths = tokens.values[tokens.valid & succeeded(evidence.table)]
    words = evidence.run.prompt_words
    short = int((lengths < words).sum())
    if not short:
        return None
    message = (
        f"{short} of {len(lengths)} prompts of {words} words had fewer tokens than that at the server "
        f"(least {lengths.min()}): it did not read them whole."
    )
    return verdict("work_as_asked", "fail", float(lengths.min()), float(words), message)


def _finish_reasons(evidence: Evidence) -> str:
    """`, ended by stop`: the finish reasons other than the limit; empty when there are none."""
    reasons = evidence.table.column("finish_reason").filter(succeeded(evidence.table)).unique()
    others = sorted({str(r) for r in reasons.to_pylist() if r} - {FINISHED_BY_LENGTH})
    return f", ended by {' and '.join(others)}" if others else ""


def _length_limits(evidence: Evidence) -> Ints:
    """The tokens that each request asks for."""
    column = ints(evidence.table, "completion_tokens_asked")
    limits = column.values.copy()
    limits[~column.valid] = evidence.run.max_tokens
    return limits
