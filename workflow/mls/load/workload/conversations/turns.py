"""The turns of a conversation with its branches: which of them each goes on from, and waits for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mls.protocol.content import Messages


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation.

    messages: what it adds to all that was said. reply: the file's reply to it, empty where the file
    has none or the server's own is to count. delay_s: the pause before it, by the file. forks:
    branches that begin after its reply. output_tokens: of the file's reply, where that is asked for.
    """

    messages: Messages
    reply: Messages
    delay_s: float | None = None
    forks: list[Fork] = field(default_factory=list)
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """Branches that go on side by side from one reply, each with turns of its own.

    background: whether the conversation goes on without waiting for their ends.
    """

    branches: tuple[tuple[Turn, ...], ...]
    background: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A turn among all of a conversation, in the file's order.

    depth: turns before it in what its request says. branch: number of its branch, None on the main
    line. previous: the step whose request and reply its own goes on from; None of the first. joins:
    last steps of the branches that it waits for. later: the steps that wait for it.
    """

    turn: Turn
    depth: int
    branch: int | None
    previous: int | None
    joins: tuple[int, ...]
    later: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The job of a turn that waits for a reply.

    previous: the job whose request and reply its own goes on from. delay_s: the pause before it,
    where the file has one. joins: the last jobs of branches, whose replies it waits for.
    """

    job: int
    previous: int
    delay_s: float | None = None
    joins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """A request that no other one goes on from.

    text: all that it says, but for the server's own replies. replies: the number of these where they
    are sent, with the one to it. output_tokens: of the file's reply to it, see `Turn`.
    """

    text: str
    replies: int
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation, of the row with this number in the file.

    tools: those that its requests offer; None for none.
    """

    row: int
    turns: tuple[Turn, ...]
    tools: list[dict[str, Any]] | None = None

    @property
    def steps(self) -> list[Step]:
        """All turns, those of the branches after the one that they begin after."""
        steps: list[Step] = []
        _add(steps, self.turns, itertools.count())
        for number, step in enumerate(steps):
            before = {step.previous, *step.joins} - {None}
            for each in before:
                steps[each].later.append(number)  # type: ignore[index]
        return steps

    @property
    def size(self) -> int:
        """The number of all turns."""
        return sum(1 for _ in _all(self.turns))

    @property
    def text(self) -> str:
        """All that the longest request says, but for the server's own replies."""
        return max((ending.text for ending in self.endings), key=len)

    @property
    def endings(self) -> list[Ending]:
        """The requests that no other one goes on from."""
        steps = self.steps
        gone_on_from = {step.previous for step in steps}
        return [_ending(steps, n) for n in range(len(steps)) if n not in gone_on_from]


def turns_after(steps: Sequence[Step], number: int, first: int) -> tuple[NextTurn, ...]:
    """The turns that wait for a step's reply. first: the job of the conversation's first step."""
    return tuple(
        NextTurn(
            first + each,
            first + (steps[each].previous or 0),
            steps[each].turn.delay_s,
            tuple(first + end for end in steps[each].joins),
        )
        for each in steps[number].later
    )


def joined_text(messages: Messages) -> str:
    return "\n\n".join(message["content"] or "" for message in messages)


def _add(
    steps: list[Step],
    line: Sequence[Turn],
    branches: Iterator[int],
    previous: int | None = None,
    branch: int | None = None,
) -> list[int]:
    """Add a line's turns with their branches. Returns its last steps: several where it ends in
    branches."""
    joins: list[int] = []
    for turn in line:
        here = len(steps)
        depth = 0 if previous is None else steps[previous].depth + 1
        steps.append(Step(turn, depth, branch, previous, tuple(joins)))
        joins = []
        for fork in turn.forks:
            for each in fork.branches:
                ends = _add(steps, each, branches, here, next(branches))
                joins += [] if fork.background else ends
        previous = here
    assert previous is not None
    return joins or [previous]


def _all(line: Sequence[Turn]) -> Iterator[Turn]:
    for turn in line:
        yield turn
        for fork in turn.forks:
            for branch in fork.branches:
                yield from _all(branch)


def _ending(steps: Sequence[Step], number: int) -> Ending:
    step = last = steps[number]
    said, replies = [*step.turn.messages], 1 + len(step.joins)
    while step.previous is not None:
        step = steps[step.previous]
        said = [*step.turn.messages, *step.turn.reply, *said]
        replies += 1 + len(step.joins)
    return Ending(joined_text(said), replies, last.turn.output_tokens)
