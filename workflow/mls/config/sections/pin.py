"""Which CPUs server and ranks get on a host that they share."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from mls.config.sections.base import Section


def read_cpus(text: str) -> frozenset[int]:
    """`0-3,8` → {0, 1, 2, 3, 8}. Raises `ValueError`."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise ValueError(part)
        cpus.update(span)
    return frozenset(cpus)


def write_cpus(cpus: Iterable[int]) -> str:
    """{0, 1, 2, 3, 8} → `0-3,8`."""
    numbers = sorted(cpus)
    ends = [0, *(i for i, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1), len(numbers)]
    spans = [numbers[a:b] for a, b in pairwise(ends)]
    return ",".join(
        f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans if span
    )


def _word(value: object) -> object:
    """The text of a value, as YAML reads a bare `off` as false and a lone CPU as a number."""
    return "off" if value is False else str(value) if type(value) is int else value


def _which(value: str) -> str:
    if value not in ("auto", "off"):
        try:
            read_cpus(value)
        except ValueError:
            raise ValueError("expected `auto`, `off`, or CPUs such as 0-3,8") from None
    return value


Which = Annotated[str, BeforeValidator(_word), AfterValidator(_which)]


class Pin(Section):
    """CPUs for a managed server and for the ranks beside it, so that neither takes the other's.

    `auto` keeps them apart when the host has at least four cores for each rank: the ranks get a
    core each, the server all others. With less it leaves both alone, and the record says why. CPUs
    given for one of them leave the others for the other one.
    """

    server: Which = Field(
        "auto", description="`auto`, `off`, or the managed server's CPUs, such as `0-5,8`."
    )
    ranks: Which = Field("auto", description="`auto`, `off`, or the ranks' CPUs.")
