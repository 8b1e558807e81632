"""Were prompts and replies what the workload asks for: their lengths, and what the cache saved?"""

from __future__ import annotations

from mls.analysis.repeat.columns import Ints, ints, succeeded
from mls.analysis.repeat.evidence import Evidence, Status, verdict
from mls.core.record import FINISHED_BY_LENGTH
from mls.core.run_result import Verdict

_APPROXIMATE = 0.1


def prompts_as_asked(evidence: Evidence) -> list[Verdict]:
    """Of prompts that have a length in tokens; of others there is nothing to say."""
    asked, counted = (
        ints(evidence.table, "prompt_tokens_asked"),
        ints(evidence.table, "prompt_tokens"),
    )
    wanted = asked.valid & succeeded(evidence.table)
    told = wanted & counted.valid
    if not wanted.any():
        return []
    if not told.any():
        message = "The server doesn't say how many tokens its prompts have."
        return [verdict("prompts_as_asked", "unknown", None, None, message)]
    off = abs(counted.values[told] - asked.values[told])
    share = float((off / asked.values[told]).max())
    wrong = int((off > 0).sum())
    silent = int(wanted.sum()) - len(off)
    if silent and not wrong:
        message = (
            f"The server doesn't say how many tokens {silent} of {int(wanted.sum())} prompts have; the "
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


def cache_as_asked(evidence: Evidence) -> Verdict:
    silent = _silent(evidence, "cached_tokens")
    ok = succeeded(evidence.table)
    # what some replies say is known, whatever others don't
    cached = int(ints(evidence.table, "cached_tokens").values[ok].sum())
    prompt = int(ints(evidence.table, "prompt_tokens").values[ok].sum())
    if silent and not cached:
        message = f"The server doesn't say how much of {silent} prompts it took from its cache"
        if "cache_prompt" in evidence.left_out:
            message += ", and refuses cache_prompt"
        message += "."
        return verdict("cache_as_asked", "unknown", None, None, message)
    share = cached / prompt if prompt else 0.0
    said = f"{cached} of {prompt} prompt tokens came from the server's cache"
    if evidence.run.cache_prompt:
        status: Status = "pass" if cached else "warn"
        return verdict("cache_as_asked", status, share, None, f"{said}; caching was asked for.")
    if cached:
        message = f"{said} although caching was off: TTFT is better than it should be."
        return verdict("cache_as_asked", "fail", share, 0.0, message)
    return verdict("cache_as_asked", "pass", share, 0.0, "No prompt came from the server's cache.")


def work_as_asked(evidence: Evidence) -> Verdict:
    tokens = ints(evidence.table, "completion_tokens")
    told = tokens.valid & succeeded(evidence.table)
    asked = evidence.run.max_tokens
    if evidence.run.embeds:
        message = "The replies are embeddings: there are no tokens of theirs to count."
        return _cut_prompts(evidence) or verdict("work_as_asked", "pass", None, None, message)
    silent = _silent(evidence, "completion_tokens")
    if not told.any():
        message = "The server doesn't say how many tokens its replies have."
        return verdict("work_as_asked", "unknown", None, float(asked), message)
    cut = _cut_prompts(evidence)
    if cut is not None:
        return cut
    lengths, each = tokens.values[told], _lengths_asked(evidence)[told]
    mean, asked = float(lengths.mean()), int(each.max())
    longer, shorter = int((lengths > each).sum()), int((lengths < each).sum())
    wanted = f"the {asked}" if (each == asked).all() else "the number of"
    if longer:
        message = f"{longer} of {len(lengths)} replies are longer than {wanted} tokens asked for."
        return verdict("work_as_asked", "fail", float(lengths.max()), float(asked), message)
    if evidence.run.ignore_eos and shorter:
        message = (
            f"{shorter} of {len(lengths)} replies are shorter than {wanted} tokens asked for "
            f"(shortest {lengths.min()}){_ended_by(evidence)}: requests did not do equal work"
        )
        at_will = [name for name in ("ignore_eos", "min_tokens") if name in evidence.left_out]
        if at_will:  # nothing that a user could mend
            message += f", which can't be ensured as the server refuses {' and '.join(at_will)}"
        status: Status = "warn" if at_will else "fail"
        return verdict("work_as_asked", status, float(lengths.min()), float(asked), f"{message}.")
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


def _silent(evidence: Evidence, column: str) -> str:
    """How many replies lack a figure of the server's, in words; empty when none does."""
    ok = succeeded(evidence.table)
    lacking = int((ok & ~ints(evidence.table, column).valid).sum())
    if not lacking and ok.any():
        return ""
    return "its" if lacking == ok.sum() else f"{lacking} of {ok.sum()}"


def _cut_prompts(evidence: Evidence) -> Verdict | None:
    """A failed verdict when prompts have fewer tokens than words: something cut them."""
    if evidence.workload.kind != "words":
        return None
    tokens = ints(evidence.table, "prompt_tokens")
    told = tokens.values[tokens.valid & succeeded(evidence.table)]
    words = evidence.run.prompt_words
    short = int((told < words).sum())
    if not short:
        return None
    message = (
        f"{short} of {len(told)} prompts of {words} words had fewer tokens than that at the server "
        f"(least {told.min()}): it did not read them whole."
    )
    return verdict("work_as_asked", "fail", float(told.min()), float(words), message)


def _ended_by(evidence: Evidence) -> str:
    """` by "stop"`: reasons, other than the limit, that the server gave for ending replies."""
    reasons = evidence.table.column("finish_reason").filter(succeeded(evidence.table)).unique()
    others = sorted({str(r) for r in reasons.to_pylist() if r} - {FINISHED_BY_LENGTH})
    return f", ended by {' and '.join(others)}" if others else ""


def _lengths_asked(evidence: Evidence) -> Ints:
    """Tokens asked for of each request's reply."""
    asked = ints(evidence.table, "completion_tokens_asked")
    found = asked.values.copy()
    found[~asked.valid] = evidence.run.max_tokens
    return found
