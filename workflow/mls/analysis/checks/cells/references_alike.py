"""Do the servers of all cells, asked alone, say the same?

Cells with the same settings of the server are to have the same server. One that was started with
other weights, or another quantization, is not seen by its name or its settings, but by what it
says. Low bits may differ from start to start, so that a reply differs now and then: the cell that
is named differs more than the other cells do, and more than a server that is asked twice.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mls.analysis.canaries.references import (
    NO_MATTER,
    Parting,
    as_key,
    parting,
    references,
    request,
)
from mls.analysis.checks.cells.agreement import CellFigures
from mls.analysis.checks.divergence import Count, compared, trials_for
from mls.analysis.repeat.evidence import Status, verdict
from mls.config.sections.checks import Checks
from mls.core.run_result import CanaryReference, RunResult, Verdict

CHECK = "references_alike"

Text = tuple[str, ...]
"""A reference's text, by its digests."""


@dataclass(frozen=True)
class _Canary:
    """A canary and its references. cells: index of a cell → number of a repeat, and its reference."""

    cells: dict[int, list[tuple[int, CanaryReference]]]
    _others: dict[Text, dict[int, Parting]] = field(default_factory=dict)
    """What is usual → the worst parting from it of each cell."""

    @cached_property
    def _votes(self) -> Counter[Text]:
        """A cell has one vote, however many repeats it has; they share it."""
        votes: Counter[Text] = Counter()
        for cell in self.cells:
            votes.update(self._votes_of(cell))
        return votes

    @cached_property
    def _ranked(self) -> list[tuple[Text, int]]:
        """Texts and votes, the most first; in an order that is not that of the cells."""
        return sorted(self._votes.items(), key=lambda each: (-each[1], each[0]))

    @cached_property
    def _by_text(self) -> dict[Text, CanaryReference]:
        return {tuple(one.prefixes): one for own in self.cells.values() for _, one in own}

    @cached_property
    def _scale(self) -> int:
        return math.lcm(*(len(own) for own in self.cells.values()))

    def _votes_of(self, cell: int) -> Counter[Text]:
        share = self._scale // len(self.cells[cell])
        return Counter({text: share * count for text, count in self._texts(cell).items()})

    def _texts(self, cell: int) -> Counter[Text]:
        return Counter(tuple(one.prefixes) for _, one in self.cells[cell])

    def has(self, cell: int) -> bool:
        """Whether there is anything to compare the cell's references with."""
        return cell in self.cells and len(self.cells) + len(self.cells[cell]) > 2

    def partings(self, cell: int) -> list[tuple[int, Parting]]:
        """Repeat and parting from what the other cells say; from its other repeats without any."""
        texts = self._texts(cell)
        usual = self._usual(cell, texts) if len(self.cells) > 1 else None
        partings = []
        for number, reference in self.cells[cell]:
            text = tuple(reference.prefixes)
            most = usual or _most(texts - Counter([text]))
            # where several are as usual, its own is held against none of the others
            other = text if text in most else min(most)
            partings.append((number, parting(reference, self._by_text[other])))
        return partings

    def elsewhere(self, cell: int) -> list[Parting]:
        """How far servers differ from start to start anyway.

        Those of the other cells from what is usual there, and the repeats of this cell from one
        another. The one that makes the usual says nothing of differences, and is left out.
        """
        partings = []
        if len(self.cells) > 1:
            usual = min(self._usual(cell))
            if usual not in self._others:
                self._others[usual] = {one: self._worst(one, usual) for one in self.cells}
            partings = [way for one, way in self._others[usual].items() if one != cell]
            alike = next((way for way in partings if not way.differs), None)
            if alike:
                partings.remove(alike)
        if len(self.cells[cell]) > 1:
            partings.append(self._worst(cell, min(_most(self._texts(cell)))))
        return partings

    def _usual(self, cell: int, wanted: Iterable[Text] = ()) -> set[Text]:
        """What most other cells say: one such text at least, and all such of those that are wanted."""
        own, most = self._votes_of(cell), 0
        usual: set[Text] = set()
        for text, votes in self._ranked:
            others = votes - own[text]
            if others > most:
                most, usual = others, {text}
            elif others == most:
                usual.add(text)
            if votes <= most:  # no later one has more
                break
        return usual | {text for text in wanted if self._votes[text] - own[text] == most}

    def _worst(self, cell: int, usual: Text) -> Parting:
        return worst([parting(one, self._by_text[usual]) for _, one in self.cells[cell]])


def worst(partings: Sequence[Parting]) -> Parting:
    """The parting that comes first; where none differs, the one with the fewest tokens."""
    return min(partings, key=lambda way: (not way.differs, way.tokens))


def _most(votes: Counter[Text]) -> set[Text]:
    highest = max(votes.values())
    return {text for text, count in votes.items() if count == highest}


@dataclass(frozen=True)
class _Findings:
    """What the canaries of a cell say. canaries: those that have something to compare with."""

    cell: int
    canaries: list[_Canary]

    @cached_property
    def partings(self) -> list[list[tuple[int, Parting]]]:
        return [canary.partings(self.cell) for canary in self.canaries]

    @cached_property
    def each(self) -> list[Parting]:
        """The worst of each canary: repeats that say the same are no more evidence than one."""
        return [worst([way for _, way in own]) for own in self.partings]

    @cached_property
    def count(self) -> Count:
        return _count(self.each)

    @property
    def repeats(self) -> list[int]:
        """Numbers of the repeats that differ."""
        return sorted({number for own in self.partings for number, way in own if way.differs})

    @property
    def elsewhere(self) -> Count:
        return _count([way for canary in self.canaries for way in canary.elsewhere(self.cell)])

    @property
    def of(self) -> str:
        """What the cell's replies are held against, in words."""
        has_others = any(len(canary.cells) > 1 for canary in self.canaries)
        return "the other cells" if has_others else "its other repeats"

    @property
    def sentence(self) -> str:
        """What was found, in a sentence."""
        canaries, tokens = len(self.each), self.count.trials
        if not self.count.events:
            return (
                f"Asked alone, the server answers {canaries} of {canaries} canaries as in {self.of} "
                f"({tokens} tokens)."
            )
        after = statistics.median(way.tokens for way in self.each if way.differs)
        median = " in the median" if self.count.events > 1 else ""
        numbers = ", ".join(map(str, self.repeats))
        return (
            f"Asked alone, the server answers {self.count.events} of {canaries} canaries otherwise than in "
            f"{self.of} (repeat {numbers}), after about {after:.0f} tokens{median}."
        )


def references_alike(cells: Sequence[CellFigures], checks: Checks) -> list[Verdict | None]:
    """For each cell: whether its server, asked alone, says what those of the other cells say.

    Cells compare that ask for the same, of servers with the same settings. None for a cell without
    references, and where there is nothing to compare them with.
    """
    verdicts: list[Verdict | None] = [None] * len(cells)
    for group in _groups(cells).values():
        canaries = list(group.values())
        again = _again(canaries)
        places = sorted({place for canary in canaries for place in canary.cells})
        for place in places:
            own = [canary for canary in canaries if canary.has(place)]
            if own:
                verdicts[place] = _judge(_Findings(place, own), again, len(places), checks)
    return verdicts


def _judge(findings: _Findings, again: Count, tests: int, checks: Checks) -> Verdict:
    """The verdict on a cell. again: of all servers asked twice. tests: cells that are judged."""
    threshold, count, sentence = checks.diverging_tokens, findings.count, findings.sentence
    if count.events:
        # each by itself: many tokens of the one would hide how few the other has
        baselines = [one for one in (again, findings.elsewhere) if one.trials]
        if all(count.beyond(baseline, tests) for baseline in baselines):
            sentence += (
                " Servers alike differ less: other weights, another quantization, build or device say "
                "other things, whatever the config says."
            )
            status: Status = "fail" if count.least > threshold else "warn"
            return verdict(CHECK, status, count.share, threshold, sentence)
        sentence += " By chance, or as servers here differ from start to start anyway."
    if count.most < 2 * threshold:
        return verdict(CHECK, "pass", count.share, threshold, sentence)
    sentence += (
        f" That can't exclude a share of twice {threshold:g} of the tokens: without any difference it takes "
        f"{trials_for(2 * threshold)} tokens (replies.canaries, run.max_tokens)."
    )
    return verdict(CHECK, "unknown", count.share, threshold, sentence)


def _count(partings: Sequence[Parting]) -> Count:
    return compared([way.differs for way in partings], [way.tokens for way in partings])


def _again(canaries: Sequence[_Canary]) -> Count:
    each = [one for canary in canaries for own in canary.cells.values() for _, one in own]
    return compared([one.again != "none" for one in each], [one.again_tokens for one in each])


def _groups(cells: Sequence[CellFigures]) -> dict[str, dict[str, _Canary]]:
    """What is asked, and of which server → prompt → the canary with its references."""
    groups: dict[str, dict[str, _Canary]] = {}
    for index, cell in enumerate(cells):
        for repeat in cell.ok:
            if repeat.result is None:
                continue
            canaries = groups.setdefault(_group(repeat.result), {})
            for prompt, one in {r.prompt_sha256: r for r in references(repeat.result)}.items():
                canary = canaries.setdefault(prompt, _Canary({}))
                canary.cells.setdefault(index, []).append((repeat.number, one))
    return groups


def _group(result: RunResult) -> str:
    server = result.config.get("server") or {}
    settings = {key: value for key, value in server.items() if key not in NO_MATTER}
    return request(result) + as_key(settings)
