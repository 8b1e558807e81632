"""The prompt of each job: by seed and job number alone, the same whichever rank sends it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mls.config.sections.run import Run
from mls.config.sections.workload import Lengths, Workload
from mls.load.workload.calibration import Calibration
from mls.load.workload.datasets import Row
from mls.load.workload.replay import Earlier
from mls.load.workload.traces import Trace
from mls.protocol.prompts import prompt
from mls.protocol.request import Asked


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a request says: the user's text, or the `messages` that a dataset gives for it."""

    text: str
    system: str | None = None
    messages: list[dict[str, str]] | None = None
    asked: Asked = field(default_factory=Asked)


Prompts = Callable[[int], Prompt]
"""Job → its prompt. Warm-up jobs are negative and get prompts of their own."""


@dataclass(frozen=True)
class Materials:
    """What prompts are made of, gathered on rank 0 before the load and given to every rank.

    notes: sentences for the user.
    """

    calibration: Calibration | None = None
    rows: list[Row] | None = None
    trace: Trace | None = None
    earlier: Earlier | None = None
    notes: tuple[str, ...] = ()


def needs_bodies(workload: Workload) -> bool:
    """Whether requests differ in more than the text of the built-in prompts."""
    plain = workload.kind == "words" and workload.output_tokens is None
    return not plain or workload.system is not None


def make_prompts(run: Run, workload: Workload, seed: int, given: Materials) -> Prompts:
    """The prompts of a run."""
    if workload.kind == "replay":
        assert given.earlier is not None
        before = given.earlier
        said = run.model_copy(update={"prompt_words": before.run.prompt_words})
        return make_prompts(said, before.workload, before.seed, given)
    if workload.kind == "words":
        return _Words(run, workload, seed, given.trace)
    if workload.kind == "dataset":
        assert given.rows is not None
        return _Dataset(run, workload, seed, given)
    return _Synthetic(run, workload, seed, given)


class _Words:
    def __init__(self, run: Run, workload: Workload, seed: int, trace: Trace | None) -> None:
        self._words = run.prompt_words
        self._seed = seed
        self._system = workload.system
        self._output = _Output(run, workload, seed, trace)

    def __call__(self, job: int) -> Prompt:
        text = prompt(self._seed, job, self._words)
        return Prompt(text, self._system, asked=Asked(output_tokens=self._output(job)))


class _Synthetic:
    """Random words of an exact number of tokens, with a group's own beginning if there are groups.

    A conversation's session is `turns` jobs one after another.
    """

    def __init__(self, run: Run, workload: Workload, seed: int, given: Materials) -> None:
        assert given.calibration is not None
        self._calibration = given.calibration
        self._workload = workload
        self._seed = seed
        self._trace = given.trace.prompt_tokens if given.trace else None
        self._output = _Output(run, workload, seed, given.trace)
        self._prefixes: dict[int, str] = {}

    def __call__(self, job: int) -> Prompt:
        workload, made = self._workload, self._calibration
        tokens = draw(workload.prompt_tokens, self._seed, job, "prompt", self._trace)
        output = self._output(job)
        session = turn = group = None
        room = tokens - made.overhead
        prefix = ""
        asked: int | None = tokens
        if workload.kind == "shared_prefix":
            group = job % workload.groups
            prefix = self._prefix(group) + " " if job >= 0 else ""
            room -= workload.prefix_tokens if prefix else 0
        elif workload.kind == "conversation" and job >= 0:
            session, turn = divmod(job, workload.turns)
            if turn:  # a turn's length also depends on what the server said before
                asked, room = None, tokens
        text = prefix + made.text(random.Random(f"{self._seed}/{job}/text"), max(1, room))
        about = Asked(asked, output, session=session, turn=turn, group=group)
        return Prompt(text, workload.system, asked=about)

    def _prefix(self, group: int) -> str:
        if group not in self._prefixes:
            source = random.Random(f"{self._seed}/{group}/prefix")
            self._prefixes[group] = self._calibration.text(source, self._workload.prefix_tokens)
        return self._prefixes[group]


class _Dataset:
    def __init__(self, run: Run, workload: Workload, seed: int, given: Materials) -> None:
        self._rows = given.rows or []
        self._replace = workload.replace
        self._seed = seed
        self._system = workload.system
        self._warm_up = _Words(run, workload, seed, given.trace)
        self._output = _Output(run, workload, seed, given.trace)

    def __call__(self, job: int) -> Prompt:
        if job < 0:
            return self._warm_up(job)
        index = job
        if self._replace:
            index = int(random.Random(f"{self._seed}/{job}/row").random() * len(self._rows))
        row = self._rows[index]
        asked = Asked(output_tokens=row.output_tokens or self._output(job))
        return Prompt(row.text, self._system, row.messages, asked)


class _Output:
    """Tokens of each reply; None of embeddings."""

    def __init__(self, run: Run, workload: Workload, seed: int, trace: Trace | None) -> None:
        self._lengths = workload.output_tokens
        self._default = None if run.embeds else run.max_tokens
        self._seed = seed
        self._trace = trace.output_tokens if trace else None

    def __call__(self, job: int) -> int | None:
        if self._lengths is None:
            return self._default
        return draw(self._lengths, self._seed, job, "output", self._trace)


def draw(lengths: Lengths, seed: int, job: int, what: str, trace: NDArray[np.int64] | None) -> int:
    """A job's length. what: `prompt` or `output`, which are independent of each other.

    By the inverse of the distribution function: `random()` is the one stream of Python's that
    never changes.
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
    standard = NormalDist().inv_cdf(min(max(u, 1e-12), 1 - 1e-12))
    if lengths.distribution == "normal":
        value = lengths.mean + lengths.std * standard
    else:
        sigma2 = math.log(1 + (lengths.std / lengths.mean) ** 2)
        value = math.exp(math.log(lengths.mean) - sigma2 / 2 + math.sqrt(sigma2) * standard)
    return min(max(round(value), lengths.min), high)
