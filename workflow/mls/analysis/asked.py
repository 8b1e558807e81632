"""Did prompts and replies have the lengths that the workload asked for?"""

from __future__ import annotations

from mls.analysis.columns import Ints, ints, succeeded
from mls.analysis.evidence import Evidence, Status, verdict
from mls.model.result import Verdict

_APPROXIMATE = 0.1


def prompts_as_asked(given: Evidence) -> list[Verdict]:
    """Of prompts that have a length in tokens; of others there is nothing to say."""
    asked, counted = ints(given.table, "prompt_tokens_asked"), ints(given.table, "prompt_tokens")
    wanted = asked.valid & succeeded(given.table)
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


def replies_asked(given: Evidence) -> Ints:
    """Tokens asked for of each request's reply."""
    asked = ints(given.table, "completion_tokens_asked")
    found = asked.values.copy()
    found[~asked.valid] = given.run.max_tokens
    return found
