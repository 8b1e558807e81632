"""Traces of agents: sessions of requests by their hash ids, sent one after another.

Read are kv-cache-tester's (Weka's), one session a row with its requests and those of sub-agents in
them, and rows with a `session_id`, one a request, as AIPerf has them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.blocks.hash_ids import COLUMN, BlockNumbers
from mls.load.workload.blocks.sessions import SessionRows
from mls.load.workload.conversations.turns import Dialogue, Fork, Turn
from mls.load.workload.rows import RowFile, whole_number
from mls.load.workload.traces import Trace

_SUBAGENT, _BACKGROUND = "subagent", "async_launched"
_REQUESTS, _SESSION = "requests", "session_id"


@dataclass
class _Request:
    """A request, with the sub-agents that begin after it.

    delay_s: the pause before it, NaN where the file has none.
    """

    row: int
    tokens: int
    output: int
    blocks: tuple[int, ...]
    delay_s: float
    subagents: list[_Subagent] = field(default_factory=list)


class _Subagent(NamedTuple):
    """background: whether the agent goes on without waiting for its end."""

    line: list[_Request]
    background: bool


@dataclass
class _Left:
    """Counts for the notes of a run."""

    failed: int = 0
    cut: int = 0
    elsewhere: int = 0
    """Requests whose ids don't go on from those of the one before, by rows of a session."""

    def notes(self, file: RowFile, workload: Workload) -> tuple[str, ...]:
        texts = {
            f"{self.failed} requests without tokens, as of ones that failed, are left out": self.failed,
            f"{self.cut} sessions or sub-agents end before their first prompt of more than "
            f"workload.max_prompt_tokens ({workload.max_prompt_tokens})": self.cut,
            f"{self.elsewhere} rows don't begin with all blocks of the row before in their session; each "
            "is read as a whole prompt, never as what it adds": self.elsewhere,
        }
        return tuple(f"{file.key}: {file.path}: {text}." for text, count in texts.items() if count)


def read_agents(workload: Workload, count: int | None) -> Trace:
    """The first `count` sessions of `workload.file`, or all of them.

    Raises `UserError` that names the row not as expected.
    """
    file = RowFile("workload.file", Path(workload.file or "").expanduser())
    others = enumerate(file.rows(), 1)
    first = next(others, None)
    if first is None:
        raise file.error("has no rows.")
    reader = _Reader(file, workload)
    rows = itertools.chain([first], others)
    if _REQUESTS in first[1]:
        sessions: Iterable[list[_Request]] = (reader.nested(*each) for each in rows)
    elif _SESSION in first[1]:
        sessions = reader.by_session(rows)
    else:
        raise file.row_error(
            1,
            f"has neither {_REQUESTS}, as kv-cache-tester's traces have, nor {_SESSION}, as AIPerf's; it has "
            f"{', '.join(map(str, first[1]))}. A trace of single requests goes into load.file.",
        )
    kept = list(itertools.islice(filter(None, map(reader.cut, sessions)), count))
    if not kept:
        raise file.error(
            "has no session that begins with a prompt of at most workload.max_prompt_tokens."
            if reader.left.cut
            else "has no session with a request."
        )
    requests = [request for session in kept for request in _all(session)]
    return Trace(
        np.zeros(len(requests)),
        np.array([each.tokens for each in requests], np.int64),
        np.array([each.output for each in requests], np.int64),
        np.array([each.row for each in requests], np.int64),
        reader.left.notes(file, workload),
        tuple(each.blocks for each in requests),
        SessionRows(tuple(tuple(Dialogue(0, _turns(session)).steps) for session in kept)),
    )


def _all(line: list[_Request]) -> Iterator[_Request]:
    """All requests in the order of a dialogue's steps."""
    for request in line:
        yield request
        for subagent in request.subagents:
            yield from _all(subagent.line)


def _turns(line: list[_Request]) -> tuple[Turn, ...]:
    """The requests as turns, which say when each is sent, and nothing of what it says."""
    return tuple(
        Turn(
            [],
            [],
            None if math.isnan(request.delay_s) else request.delay_s,
            [Fork((_turns(each.line),), each.background) for each in request.subagents],
        )
        for request in line
    )


@dataclass
class _Reader:
    file: RowFile
    workload: Workload
    left: _Left = field(default_factory=_Left)
    _numbers: BlockNumbers = field(default_factory=BlockNumbers)

    def nested(self, number: int, row: dict[str, Any]) -> list[_Request]:
        """A session of kv-cache-tester. Its ids are its own unless their scope is global."""
        size, own = row.get("block_size"), self.workload.block_tokens
        if size is not None and size != own:
            raise UserError(
                f"workload.block_tokens: row {number} of {self.file.path} has blocks of {size!r} "
                f"tokens, not of {own}; set it to the trace's."
            )
        scope = None if row.get("hash_id_scope") == "global" else number
        return self._line(number, row.get(_REQUESTS), scope, math.nan)

    def _line(self, number: int, entries: Any, scope: int | None, lead_s: float) -> list[_Request]:
        """The requests of an agent. A sub-agent that begins before the first is a part of the line.

        lead_s: the pause before the first of them, unless that has one of its own.
        """
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise self.file.row_error(
                number, f"has {_REQUESTS} {entries!r:.40}; expected a list of requests."
            )
        line: list[_Request] = []
        replied = waited = math.nan  # when the reply came, and the last of the sub-agents was done
        for place, entry in enumerate(entries):
            at = self._seconds(number, entry, "t")
            if entry.get("type") != _SUBAGENT:
                pause_s = self._seconds(number, entry, "think_time")
                if math.isnan(pause_s):
                    pause_s = _pause(at, waited) if place else lead_s
                request = self._request(number, entry, ("in", "out"), scope, pause_s)
                replied = waited = _end(at, self._seconds(number, entry, "api_time"))
                line += [request] if request else []
                continue
            inner = self._line(
                number, entry.get(_REQUESTS), scope, _pause(at, replied) if place else lead_s
            )
            background = entry.get("status") == _BACKGROUND
            if not line:
                line += inner
            elif inner:
                line[-1].subagents.append(_Subagent(inner, background))
            if not background:
                # NaN, an end that the file doesn't have, is none
                ends = _end(at, self._seconds(number, entry, "duration_ms") / 1000), waited
                waited = max((end for end in ends if not math.isnan(end)), default=math.nan)
        return line

    def by_session(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> list[list[_Request]]:
        """Sessions in the order of their first rows; their ids are those of the whole file."""
        sessions: dict[Any, list[_Request]] = {}
        before: dict[Any, float] = {}
        for number, row in rows:
            name = row.get(_SESSION)
            if not isinstance(name, (str, int)):
                raise self.file.row_error(
                    number, f"has {_SESSION} {name!r}; expected a text or a number."
                )
            at = self._seconds(number, row, "timestamp") / 1000
            pause_s = self._seconds(number, row, "delay") / 1000
            if math.isnan(pause_s) and name in before:
                pause_s = _pause(at, before[name])
            before[name] = at
            request = self._request(number, row, ("input_length", "output_length"), None, pause_s)
            session = sessions.setdefault(name, [])
            if request is None:
                continue
            if session and request.blocks[: len(session[-1].blocks)] != session[-1].blocks:
                self.left.elsewhere += 1
            session.append(request)
        return list(sessions.values())

    def _request(
        self,
        number: int,
        entry: dict[str, Any],
        keys: tuple[str, str],
        scope: int | None,
        pause_s: float,
    ) -> _Request | None:
        """None of a request without tokens. keys: of the lengths of prompt and reply."""
        lengths = []
        for key in keys:
            length = whole_number(entry.get(key))
            if length is None or length < 0:
                raise self.file.row_error(
                    number, f"has {key} {entry.get(key)!r}; expected a whole number of tokens."
                )
            lengths.append(length)
        tokens, output = lengths
        if not tokens or not output:
            self.left.failed += 1
            return None
        block = self.workload.block_tokens
        whole, rest = divmod(tokens, block)
        ids = entry.get(COLUMN)
        # kv-cache-tester has no id for a last block that isn't whole
        missing = rest if isinstance(ids, list) and len(ids) == whole else 0
        blocks = self._numbers(ids, scope, missing)
        if blocks is None:
            raise self.file.row_error(
                number,
                f"has {COLUMN} {ids!r:.40}; expected a list of ids, of which workload.kind blocks makes "
                "prompts (messages go with workload.kind conversation).",
            )
        if len(blocks) != -(-tokens // block):
            raise self.file.row_error(
                number,
                f"has a request of {tokens} tokens with {len(blocks)} {COLUMN}; expected {-(-tokens // block)} "
                f"with blocks of {block}. Set workload.block_tokens to the size of the trace's blocks.",
            )
        most = self.workload.max_pause_s
        # NaN, an unknown pause, stays so
        delay_s = pause_s if most is None or math.isnan(pause_s) else min(pause_s, most)
        return _Request(number, tokens, output, blocks, delay_s)

    def _seconds(self, number: int, entry: dict[str, Any], key: str) -> float:
        """A time of the file in its own unit; NaN where it has none."""
        value = entry.get(key)
        if value is None:
            return math.nan
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and 0 <= value < math.inf):
            raise self.file.row_error(
                number, f"has {key} {value!r}; expected a number of at least 0."
            )
        return float(value)

    def cut(self, line: list[_Request]) -> list[_Request]:
        """The requests up to before the first prompt that is too long, and so of sub-agents."""
        most = self.workload.max_prompt_tokens
        if most is None:
            return line
        short = list(itertools.takewhile(lambda request: request.tokens <= most, line))
        self.left.cut += len(short) < len(line)
        for request in short:
            cut = [_Subagent(self.cut(each.line), each.background) for each in request.subagents]
            request.subagents = [each for each in cut if each.line]
        return short


def _pause(at: float, end: float) -> float:
    """The time from an end to a request, at least 0; NaN where the file doesn't have both."""
    return math.nan if math.isnan(at - end) else max(at - end, 0.0)


def _end(at: float, took: float) -> float:
    """When something ended, as far as the file says how long it took."""
    return at if math.isnan(took) else at + took
