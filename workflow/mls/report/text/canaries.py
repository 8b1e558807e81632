"""What greedy replies to the canaries say, in words."""

from __future__ import annotations

from mls.analysis.canaries.axes import AxisChange
from mls.analysis.canaries.change import CanaryChange


def change_sentence(change: CanaryChange) -> str:
    """`12 of 16 greedy replies alone differ, after 20 tokens in the median.`"""
    count, replies = change.canaries, "reply" if change.canaries == 1 else "replies"
    if change.before is None:
        which = {1: "The", 2: "Both"}.get(count, f"All {count}")
        verb = "is" if count == 1 else "are"
        return f"{which} greedy {replies} alone {verb} the same ({change.tokens:.0f} tokens)."
    one = change.different == 1
    verb, median = ("differs", "") if one else ("differ", " in the median")
    return (
        f"{change.different} of {count} greedy {replies} alone {verb}, after {change.before:.0f} tokens"
        f"{median}."
    )


def axis_sentence(along: AxisChange) -> str:
    """`cache_type_k q8_0 against f16: 3 of 4 greedy replies alone differ, after …`"""
    return f"{along.axis} {along.value} against {along.base}: {change_sentence(along.change)}"
