"""What greedy replies to the canaries say, in words."""

from __future__ import annotations

from mls.analysis.canaries.change import CanaryChange


def change_sentence(change: CanaryChange) -> str:
    """`12 of 16 greedy replies alone differ, after 20 tokens in the median.`"""
    if change.before is None:
        count = (
            "The greedy reply alone is" if change.canaries == 1 else _all(change.canaries) + " are"
        )
        return f"{count} the same ({change.tokens:.0f} tokens)."
    return (
        f"{change.different} of {change.canaries} greedy {_replies(change.canaries)} alone "
        f"differ{'s' if change.different == 1 else ''}, after {change.before:.0f} tokens in the median."
    )


def _all(canaries: int) -> str:
    return f"All {canaries} greedy {_replies(canaries)} alone"


def _replies(count: int) -> str:
    return "reply" if count == 1 else "replies"
