"""The prompt of each job, which depends on seed and job number alone, not on the rank."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from mls.config.sections.run import Run
from mls.config.sections.workload import Lengths, Workload
from mls.core.run_result import Template
from mls.load.workload.blocks.prompts import BlockText
from mls.load.workload.blocks.sessions import SessionRows
from mls.load.workload.calibration import Calibration
from mls.load.workload.conversations.turns import Dialogue, NextTurn, Step, joined_text, turns_after
from mls.load.workload.datasets import Row
from mls.load.workload.replay import Earlier
from mls.load.workload.text.texts import TextDraw, Texts
from mls.load.workload.traces import Trace
from mls.protocol.content import Messages
from mls.protocol.prompts import prompt
from mls.protocol.request import OPENING_CHARACTERS, Attributes


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of a request: the user's text, or `messages` of a dataset.

    media_sha256: of the images and audio in these; None without any. later: the conversation's turns
    that wait for its reply. reply: said in these instead of the server's own reply, where the
    dataset's counts. tools: that its request offers, unless the config has its own.
    whole: whether its text has all that is sent, whatever was said before.
    """

    text: str
    system: str | None = None
    messages: Messages | None = None
    attributes: Attributes = field(default_factory=Attributes)
    media_sha256: str | None = None
    later: tuple[NextTurn, ...] = ()
    reply: Messages | None = None
    tools: list[dict[str, Any]] | None = None
    whole: bool = False

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, and of the images and audio if there are any, in hexadecimal."""
        digest = hashlib.sha256(self.text.encode())
        if self.media_sha256:
            digest.update(f"\0{self.media_sha256}".encode())
        return digest.hexdigest()

    @property
    def opening(self) -> str:
        """The characters by which an echo of the prompt is known; empty where one is asked for."""
        return "" if self.attributes.category == "copy" else self.text[:OPENING_CHARACTERS]


Prompts = Callable[[int], Prompt]
"""Job → prompt. Jobs of the warm-up are negative and have prompts of their own."""


@dataclass(frozen=True)
class Materials:
    """The materials of prompts, gathered on rank 0 before the load and sent to every rank.

    dialogues: conversations of a file. canary_rows: rows of the dataset for the canaries. notes:
    sentences for the user.
    """

    calibration: Calibration | None = None
    rows: list[Row] | None = None
    dialogues: list[Dialogue] | None = None
    trace: Trace | None = None
    earlier: Earlier | None = None
    notes: tuple[str, ...] = ()
    canary_rows: list[Row] | None = None
    texts: Texts | None = None
    template: Template = field(default_factory=Template)

    @cached_property
    def turns(self) -> int:
        """Turns of the longest conversation (session) of the file, with its branches; 0 without one.

        The numbers of a session's jobs begin at a multiple of it, so a shorter one leaves some out.
        """
        if self.trace and self.trace.sessions:
            return self.trace.sessions.longest
        return max((each.size for each in self.dialogues or ()), default=0)


def needs_bodies(workload: Workload) -> bool:
    """Whether requests differ in more than the text of the built-in prompts."""
    plain = workload.kind == "words" and workload.output_tokens is None
    return not plain or workload.system is not None


def make_prompts(run: Run, workload: Workload, seed: int, materials: Materials) -> Prompts:
    """The prompts of a run."""
    match workload.kind:
        case "replay":
            assert materials.earlier is not None
            earlier = materials.earlier
            earlier_run = run.model_copy(update={"prompt_words": earlier.run.prompt_words})
            return make_prompts(earlier_run, earlier.workload, earlier.seed, materials)
        case "words":
            return _Words(run, workload, seed, materials.trace)
        case "dataset":
            assert materials.rows is not None
            return _Dataset(run, workload, seed, materials)
        case "text":
            return _Text(run, workload, seed, materials)
        case "conversation" if materials.dialogues is not None:
            return _Dialogues(run, workload, seed, materials)
        case "synthetic" | "shared_prefix" | "depth" | "conversation":
            return _Synthetic(run, workload, seed, materials)
        case "blocks":
            return _Blocks(run, workload, seed, materials)
        case _:
            assert_never(workload.kind)


class _Words:
    def __init__(self, run: Run, workload: Workload, seed: int, trace: Trace | None) -> None:
        self._words = run.prompt_words
        self._seed = seed
        self._system = workload.system
        self._output = _Output(run, workload, seed, trace)

    def __call__(self, job: int) -> Prompt:
        text = prompt(self._seed, job, self._words)
        return Prompt(text, self._system, attributes=Attributes(output_tokens=self._output(job)))


class _Synthetic:
    """Random words of an exact number of tokens. Prompts of a group begin with its prefix.

    Those of a depth all begin with the same, in the warm-up too, which brings it into the cache.
    The jobs of a conversation are `turns` consecutive ones.
    """

    def __init__(self, run: Run, workload: Workload, seed: int, materials: Materials) -> None:
        assert materials.calibration is not None
        self._calibration = materials.calibration
        self._workload = workload
        self._seed = seed
        self._trace = materials.trace.prompt_tokens if materials.trace else None
        self._output = _Output(run, workload, seed, materials.trace)
        self._prefixes: dict[int, str] = {}

    def __call__(self, job: int) -> Prompt:
        workload, calibration = self._workload, self._calibration
        tokens = draw(workload.prompt_tokens, self._seed, job, "prompt", self._trace)
        output = self._output(job)
        session = turn = group = previous = None
        later: tuple[NextTurn, ...] = ()
        room = tokens - calibration.overhead
        prefix = ""
        prompt_tokens: int | None = tokens
        if workload.kind == "shared_prefix":
            group = job % workload.groups
            prefix = self._prefix(group, workload.prefix_tokens) if job >= 0 else ""
            room -= workload.prefix_tokens if prefix else 0
        elif workload.kind == "depth" and workload.depth:
            prefix = self._prefix(0, workload.depth)
            prompt_tokens = tokens + workload.depth
        elif workload.kind == "conversation" and job >= 0:
            session, turn = divmod(job, workload.turns)
            if turn + 1 < workload.turns:
                later = (NextTurn(job + 1, job),)
            if turn:  # a turn's length also depends on what the server said before
                prompt_tokens, room, previous = None, tokens, job - 1
        text = prefix + calibration.text(random.Random(f"{self._seed}/{job}/text"), max(1, room))
        attributes = Attributes(
            prompt_tokens, output, session=session, turn=turn, previous=previous, group=group
        )
        return Prompt(text, workload.system, attributes=attributes, later=later)

    def _prefix(self, group: int, tokens: int) -> str:
        if group not in self._prefixes:
            source = random.Random(f"{self._seed}/{group}/prefix")
            self._prefixes[group] = self._calibration.text(source, tokens) + " "
        return self._prefixes[group]


class _Blocks:
    """Prompts of a trace's blocks. Those of the warm-up share none with any other.

    With sessions of agents those of one are its turns, a sub-agent's a branch, and each is whole.
    """

    def __init__(self, run: Run, workload: Workload, seed: int, materials: Materials) -> None:
        trace = materials.trace
        assert trace is not None and trace.blocks is not None
        assert materials.calibration is not None
        self._blocks, self._system = trace.blocks, workload.system
        self._text = BlockText(
            materials.calibration, workload.block_tokens, seed, max(map(max, trace.blocks))
        )
        self._warm_up = _Synthetic(run, workload, seed, materials)
        self._tokens = trace.prompt_tokens
        self._sessions = trace.sessions
        self._output = _Output(run, workload, seed, trace)

    def __call__(self, job: int) -> Prompt:
        if job < 0:
            return self._warm_up(job)
        if self._sessions:
            return self._of_session(job, self._sessions)
        return self._prompt(job, Attributes())

    def _of_session(self, job: int, sessions: SessionRows) -> Prompt:
        session, number, row = sessions.place(job)
        steps, first = sessions.of(session), job - number
        step = steps[number]
        place = Attributes(
            session=session,
            turn=step.depth,
            branch=step.branch,
            previous=None if step.previous is None else first + step.previous,
        )
        return self._prompt(row, place, turns_after(steps, number, first))

    def _prompt(self, row: int, place: Attributes, later: tuple[NextTurn, ...] = ()) -> Prompt:
        """row: beyond the trace's these are its rows again. place: in a session."""
        assert self._tokens is not None
        own = row % len(self._blocks)
        tokens = int(self._tokens[own])
        return Prompt(
            self._text(self._blocks[own], tokens),
            self._system,
            attributes=replace(place, prompt_tokens=tokens, output_tokens=self._output(row)),
            later=later,
            whole=True,
        )


class _Text:
    """Passages of real text, with what is asked of them."""

    def __init__(self, run: Run, workload: Workload, seed: int, materials: Materials) -> None:
        assert materials.texts is not None
        self._lengths, self._seed = workload.prompt_tokens, seed
        self._trace = materials.trace.prompt_tokens if materials.trace else None
        self._system = workload.system
        self._output = _Output(run, workload, seed, materials.trace)
        self._draw = TextDraw(materials.texts, workload.categories, seed, self._tokens)

    def __call__(self, job: int) -> Prompt:
        category, text = self._draw(job)
        attributes = Attributes(self._tokens(job), self._output(job), category=category)
        return Prompt(text, self._system, attributes=attributes)

    def _tokens(self, job: int) -> int:
        return draw(self._lengths, self._seed, job, "prompt", self._trace)


class _Dataset:
    def __init__(self, run: Run, workload: Workload, seed: int, materials: Materials) -> None:
        self._rows = materials.rows or []
        self._embeds = run.embeds
        self._replace = workload.replace
        self._seed = seed
        self._system = workload.system
        self._warm_up = _Words(run, workload, seed, materials.trace)
        self._output = _Output(run, workload, seed, materials.trace)

    def __call__(self, job: int) -> Prompt:
        if job < 0:
            return self._warm_up(job)
        row = self._rows[_index(job, self._seed, len(self._rows)) if self._replace else job]
        media = row.media
        attributes = Attributes(
            output_tokens=None if self._embeds else row.output_tokens or self._output(job),
            media_parts=media.parts if media else None,
            media_bytes=media.size if media else None,
        )
        return Prompt(
            row.text, self._system, row.messages, attributes, media.sha256 if media else None
        )


class _Dialogues:
    """The turns of a file's conversations. See `Materials.turns` for the numbers of their jobs."""

    def __init__(self, run: Run, workload: Workload, seed: int, materials: Materials) -> None:
        self._dialogues = materials.dialogues or []
        self._steps: dict[int, list[Step]] = {}  # by row: of a large file few are drawn
        self._turns = materials.turns
        self._workload = workload
        self._seed = seed
        self._warm_up = _Words(run, workload, seed, materials.trace)
        self._output = _Output(run, workload, seed, materials.trace)

    def __call__(self, job: int) -> Prompt:
        if job < 0:
            return self._warm_up(job)
        session, number = divmod(job, self._turns)
        count = len(self._dialogues)
        index = _index(session, self._seed, count) if self._workload.replace else session
        if index not in self._steps:
            self._steps[index] = self._dialogues[index].steps
        steps, first = self._steps[index], job - number
        step = steps[number]
        attributes = Attributes(
            output_tokens=step.turn.output_tokens or self._output(job),
            session=session,
            turn=step.depth,
            branch=step.branch,
            previous=None if step.previous is None else first + step.previous,
        )
        return Prompt(
            joined_text(step.turn.messages),
            self._workload.system,
            step.turn.messages,
            attributes,
            later=turns_after(steps, number, first),
            reply=step.turn.reply if self._workload.history == "dataset" else None,
            tools=self._dialogues[index].tools,
        )


def _index(number: int, seed: int, rows: int) -> int:
    """The row that a job (conversation) draws with replacement."""
    return int(random.Random(f"{seed}/{number}/row").random() * rows)


class _Output:
    """Tokens of each reply; None of embeddings."""

    def __init__(self, run: Run, workload: Workload, seed: int, trace: Trace | None) -> None:
        self._lengths = workload.output_tokens
        self._default = None if run.embeds else run.max_tokens
        self._seed = seed
        self._trace = trace.output_tokens if trace else None

    def __call__(self, job: int) -> int | None:
        if self._lengths is None or self._lengths.distribution == "dataset":
            return self._default
        return draw(self._lengths, self._seed, job, "output", self._trace)


def draw(lengths: Lengths, seed: int, job: int, what: str, trace: NDArray[np.int64] | None) -> int:
    """The length of a job in tokens. what: `prompt` or `output`, which are drawn independently.

    A length is the inverse distribution function of `random()`, the one stream of Python that never
    changes.
    """
    if lengths.distribution == "trace":
        assert trace is not None
        return int(trace[job % len(trace)])
    if lengths.distribution == "fixed":
        return lengths.value or 1
    u = random.Random(f"{seed}/{job}/{what}").random()
    if lengths.distribution == "empirical":
        return lengths.values[int(u * len(lengths.values))]
    high: Any = lengths.max
    if lengths.distribution == "uniform":
        return lengths.min + int(u * (high - lengths.min + 1))
    assert lengths.mean is not None and lengths.std is not None
    standard = standard_normal(u)
    if lengths.distribution == "normal":
        value = lengths.mean + lengths.std * standard
    else:
        value = lognormal(lengths.mean, lengths.std, standard)
    return min(max(round(value), lengths.min), high)


def lognormal(mean: float, std: float, standard: float) -> float:
    """The lognormal value of this mean and deviation for a value of the standard normal."""
    sigma2 = math.log(1 + (std / mean) ** 2)
    return math.exp(math.log(mean) - sigma2 / 2 + math.sqrt(sigma2) * standard)


def standard_normal(u: float) -> float:
    """The value that the standard normal distribution falls below with probability `u`."""
    return NormalDist().inv_cdf(min(max(u, 1e-12), 1 - 1e-12))
