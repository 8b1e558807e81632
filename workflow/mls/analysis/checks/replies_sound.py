"""Is each reply a text of its own, and of the form that was asked for?

A server that answers nothing, or the same to everybody, is the fastest of all. The check goes by
figures of the texts alone (columns of the records), which don't tell whether a reply answers its
prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeat.columns import Bools, Ints, ints, succeeded
from mls.analysis.repeat.evidence import WORSE, Evidence, Status, excess, verdict
from mls.core.record import FINISHED_BY_LENGTH
from mls.core.run_result import Verdict
from mls.protocol.asked import Asked, asked_of

CHECK = "replies_sound"

_LOOPING = 0.5
"""Share of its text above which a loop makes a reply a looping one."""

_ONE_TOKEN = 8
"""The most characters of a loop's unit that is taken for a single token."""

_OWN_CHARACTERS = 160
"""Length from which on two prompts have no reason to get the same text."""

_STOCK_CHARACTERS = 40
_NEARLY_ALL = 0.9
"""Shorter texts are often a model's usual first words; but not one for this share of all prompts."""

_SHORT_TOKENS = 1
_SHORT_CHARACTERS = 4
"""Length of a short reply whose tokens the server doesn't count."""

_LEAST_LIMIT = 8
"""Limit of tokens below which no reply is short."""


@dataclass(frozen=True)
class _Finding:
    """The judgement of one kind of fault. share: of the replies that have it."""

    status: Status
    share: float
    threshold: float
    sentence: str


class _Replies:
    """The texts' figures of the successful requests."""

    def __init__(self, table: pa.Table, evidence: Evidence) -> None:
        """table: the records of these requests."""
        self.table = table
        self.evidence = evidence
        self.asked: Asked = asked_of(evidence.run)
        self.characters: Ints = ints(table, "text_characters").values
        self.by_length = self.has("finish_reason", FINISHED_BY_LENGTH)

    def has(self, column: str, value: str | bool) -> Bools:
        """The replies with this value in a column."""
        equal: Bools = pc.fill_null(pc.equal(self.table.column(column), value), False).to_numpy()
        return equal

    def positive(self, column: str) -> Bools:
        return ints(self.table, column).values > 0

    @property
    def looping(self) -> Bools:
        return ints(self.table, "loop_characters").values > _LOOPING * self.characters

    @property
    def greedy(self) -> Bools:
        """The replies at temperature 0: all, or those to canaries."""
        run = self.evidence.run
        canaries: Bools = ints(self.table, "canary").valid
        return canaries | (run.request_extra.get("temperature", run.temperature) == 0)

    @property
    def stuck(self) -> Bools:
        """The replies that are a token again and again, from the first character to the last."""
        begin, period, length = (
            ints(self.table, f"loop_{name}") for name in ("start", "period", "characters")
        )
        whole = begin.valid & (begin.values == 0) & (length.values == self.characters)
        stuck: Bools = whole & (period.values <= _ONE_TOKEN)
        return stuck

    def share(self, rows: Bools) -> float:
        return float(rows.mean())

    def count(self, rows: Bools) -> str:
        return f"{int(rows.sum())} of {len(rows)} replies"


def replies_sound(evidence: Evidence) -> Verdict | None:
    """The verdict on all replies by the worst kind of fault. None for embeddings."""
    if evidence.run.embeds:
        return None
    limit = evidence.checks.unsound_replies
    table = evidence.table.filter(pa.array(succeeded(evidence.table)))
    if not table.num_rows:
        message = "No request succeeded, so there are no replies to look at."
        return verdict(CHECK, "unknown", None, limit, message)
    if table.column("text_characters").null_count:
        message = (
            "The records are of a version that did not look at replies: measure again to know."
        )
        return verdict(CHECK, "unknown", None, limit, message)
    replies = _Replies(table, evidence)
    kinds = (_faults, _loops, _echoes, _alike, _short, _cut)
    findings = [judge(replies) for judge in kinds]
    worst = max(findings, key=lambda finding: WORSE.index(finding.status))
    message = " ".join(
        finding.sentence
        for finding in sorted(findings, key=lambda finding: -WORSE.index(finding.status))
        if finding.status != "pass"
    )
    return verdict(CHECK, worst.status, worst.share, worst.threshold, message or _praise(replies))


def _praise(replies: _Replies) -> str:
    asked = replies.asked
    forms = [", no JSON"] * asked.json + [", or with a malformed tool call"] * bool(asked.tools)
    counts = {
        "loops for most of the text": replies.looping,
        "prompts repeated": replies.has("echoes_prompt", True),
    }
    few = ", ".join(f"{what}: {int(rows.sum())}" for what, rows in counts.items() if rows.any())
    unread = asked.schema is not None and replies.has("json_form", "whole").any()
    schema = "whether JSON fits its schema, which can't be read, and " if unread else ""
    return (
        f"No reply of {len(replies.characters)} is empty or garbled{''.join(forms)}"
        f"{f' ({few})' if few else ''}. Not looked at is {schema}whether they answer their prompts."
    )


def _faults(replies: _Replies) -> _Finding:
    """Faults of single replies, none of which a sound server makes."""
    kinds = {
        "empty": replies.characters == 0,
        "garbled (replacement or control characters)": replies.positive("garbage_characters"),
        "no JSON, which was asked for": replies.has("json_form", "broken"),
        "JSON that doesn't fit the schema": replies.has("json_form", "unfit"),
        "with a malformed tool call": replies.positive("bad_tool_calls"),
    }
    faulty = np.logical_or.reduce(list(kinds.values()))
    share, threshold = replies.share(faulty), replies.evidence.checks.unsound_replies
    status: Status = "pass" if not share else "warn" if share <= threshold else "fail"
    counts = ", ".join(f"{int(rows.sum())} {kind}" for kind, rows in kinds.items() if rows.any())
    return _Finding(status, share, threshold, f"{replies.count(faulty)} are unsound: {counts}.")


def _loops(replies: _Replies) -> _Finding:
    """Replies that are loops for most of their text."""
    threshold = replies.evidence.checks.looping_replies
    looping = replies.looping
    share = replies.share(looping)
    if share <= threshold:
        return _Finding("pass", share, threshold, "")
    begin = ints(replies.table, "loop_start").values[looping]
    what = (
        f"{replies.count(looping)} are loops for most of their text (from character "
        f"{int(np.median(begin))} on, in the median)"
    )
    stuck = replies.share(replies.stuck)
    if stuck > threshold:
        sentence = (
            f"{what}: {int(replies.stuck.sum())} say one token again and again from their first "
            "character to their last, which no model is made to do."
        )
        return _Finding(excess(stuck, threshold), stuck, threshold, sentence)
    free = looping & ~(replies.by_length & _made_to_go_on(replies))
    if replies.share(free) <= threshold:
        sentence = (
            f"{what}. They were made to go on after their end (run.ignore_eos), which drives small "
            "models into loops, so it can't be told whether the server is at fault."
        )
        return _Finding("unknown", share, threshold, sentence)
    drawn = ~replies.greedy
    sampled = replies.share(free[drawn]) if drawn.any() else 0.0
    if sampled <= threshold:
        sentence = (
            f"{what}. At temperature 0 small models do so by themselves: whether the server is at fault "
            "a larger model would tell, or another build."
        )
        return _Finding("warn", replies.share(free), threshold, sentence)
    return _Finding(excess(sampled, threshold), sampled, threshold, f"{what}.")


def _made_to_go_on(replies: _Replies) -> bool:
    """Whether the server was told not to end a reply, and takes that."""
    evidence = replies.evidence
    return evidence.run.goes_on and not {"ignore_eos", "min_tokens"} <= set(evidence.left_out)


def _echoes(replies: _Replies) -> _Finding:
    """Replies that hold the beginning of their prompt. Base models write some of them."""
    threshold = replies.evidence.checks.echoing_replies
    echoing = replies.has("echoes_prompt", True)
    share = replies.share(echoing)
    status: Status = "pass" if share <= threshold else excess(share, threshold)
    return _Finding(status, share, threshold, f"{replies.count(echoing)} repeat their prompt.")


def _alike(replies: _Replies) -> _Finding:
    """Replies with the text of a reply to another prompt.

    Left out are forms that few texts have, and loops: greedy small models end in the same one after
    different prompts. Short texts count where nearly all replies have the same one.
    """
    threshold = replies.evidence.checks.same_replies
    if replies.asked.shaped:
        return _Finding("pass", 0.0, threshold, "")
    long = replies.characters >= _OWN_CHARACTERS
    same = _with_others(replies, long & ~replies.looping)
    short = ~long & (replies.characters >= _STOCK_CHARACTERS) & ~replies.looping
    stock = _with_others(replies, short, most_common=True)
    if replies.share(stock) >= _NEARLY_ALL:
        same |= stock
    share = replies.share(same)
    sentence = f"{replies.count(same)} have the text of a reply to another prompt, to the letter."
    return _Finding("pass" if share <= threshold else "fail", share, threshold, sentence)


def _with_others(replies: _Replies, some: Bools, most_common: bool = False) -> Bools:
    """Those of some replies whose text another prompt has got, too.

    most_common: only those with the text that the most prompts have got.
    """
    if not some.any():
        return some
    texts, prompts = (_numbers(replies.table.column(f"{of}_sha256")) for of in ("output", "prompt"))
    pairs = np.unique(np.stack([texts[some], prompts[some]]), axis=1)
    count = np.bincount(pairs[0])
    shared = count > 1
    if most_common:
        shared &= np.arange(len(count)) == count.argmax()
    same: Bools = some & shared[np.minimum(texts, len(shared) - 1)]
    return same


def _numbers(column: pa.ChunkedArray) -> Ints:
    """A number for each of a column's values, equal for equal ones."""
    indices = column.combine_chunks().dictionary_encode("encode").indices
    numbers: Ints = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _short(replies: _Replies) -> _Finding:
    """Replies that the server ended by itself after a token, though it was asked for more."""
    threshold = replies.evidence.checks.short_replies
    tokens = ints(replies.table, "completion_tokens")
    limits = ints(replies.table, "completion_tokens_asked")
    limit = np.where(limits.valid, limits.values, replies.evidence.run.max_tokens)
    few = np.where(
        tokens.valid, tokens.values <= _SHORT_TOKENS, replies.characters < _SHORT_CHARACTERS
    )
    ended = ~replies.by_length & ~replies.positive("tool_calls") & (replies.characters > 0)
    short = few & ended & (limit >= _LEAST_LIMIT) & (not replies.asked.shaped)
    share = replies.share(short)
    sentence = (
        f"{replies.count(short)} ended by themselves after a token: if the prompts don't ask for that, "
        "the server does no work."
    )
    return _Finding("pass" if share <= threshold else "warn", share, threshold, sentence)


def _cut(replies: _Replies) -> _Finding:
    """JSON that `max_tokens` cut, of which it can't be told whether it would have been whole."""
    threshold = replies.evidence.checks.unsound_replies
    cut = replies.has("json_form", "cut")
    share = replies.share(cut)
    sentence = (
        f"{replies.count(cut)} were cut off by max_tokens before they could be JSON, which was asked for: "
        "ask for more tokens."
    )
    return _Finding("unknown" if share > threshold else "pass", share, threshold, sentence)
