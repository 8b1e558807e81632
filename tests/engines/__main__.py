"""The pipeline against real engines: `make test-engines [ENGINES="vllm nginx"]`.

Each engine has an environment of its own in `build/engines`, which takes minutes and gigabytes. Where
its replies say what came from its cache, further workloads follow, whose prompts share what came
before. Prints two tables, and ends with 1 where an engine isn't what docs/ENGINES.md says of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.engines.catalogue import ENGINES, Engine
from tests.engines.environments import BUILD, MissingError, programs
from tests.engines.outcome import Outcome, cache_outcome, outcome
from tests.engines.pipeline import run
from tests.engines.series import measure
from tests.engines.workloads import WORKLOADS

from mls.core.errors import UserError
from mls.host.lock import only_one

_ENGINES = ("engine", "outcome", "known", "figures", "other checks that warn or fail", "s")
_CACHES = ("engine", "cache", "workload", "outcome", "figures", "other checks that warn or fail")


def main(names: list[str]) -> int:
    known = {engine.name: engine for engine in ENGINES}
    if unknown := [name for name in names if name not in known]:
        print(f"No engine {', '.join(unknown)}; there are {', '.join(known)}.", file=sys.stderr)
        return 2
    try:  # two at once would build environments in one folder, and measure each other
        only_one(BUILD / "lock", "`make test-engines`")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows, cache_rows, failed = [], [], False
    for name in names or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        began, engine = time.monotonic(), known[name]
        try:
            folder = programs(engine)
            result = outcome(engine, run(engine, folder))
            row = (", ".join(result.knows) or "nothing", result.figures, _words(result.doubts))
            row = ("; ".join(result.problems) or "as expected", *row)
            failed = failed or bool(result.problems)
            rows.append((name, *row, f"{time.monotonic() - began:.0f}"))
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
            for kind, workload, hits in _caches(engine, folder):
                failed = failed or bool(hits.problems)
                texts = ("; ".join(hits.problems) or "as expected", hits.figures)
                cache_rows.append((name, kind, workload, *texts, _words(hits.doubts)))
                print(*cache_rows[-1], sep=" | ", file=sys.stderr, flush=True)
        except MissingError as error:
            failed = True
            rows.append(
                (name, f"no result: {error}", "", "", "", f"{time.monotonic() - began:.0f}")
            )
            print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    _print(_ENGINES, rows)
    _print(_CACHES, cache_rows)
    return int(failed)


def _caches(engine: Engine, folder: Path) -> Iterator[tuple[str, str, Outcome]]:
    """(size of the cache, workload, its outcome) of the further workloads. Raises `MissingError`.

    With a small cache there are those alone that need a larger one.
    """
    for small in (False, True) if engine.cache else ():
        workloads = [each for each in WORKLOADS if each.contexts > 1 or not small]
        results = measure(engine, folder, workloads, small)
        for each in workloads:
            result = cache_outcome(engine, each, results[each.name], small)
            yield "small" if small else "as it is", each.name, result


def _words(doubts: list[str]) -> str:
    return ", ".join(doubts) or "none"


def _print(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        for row in (titles, ("---",) * len(titles), *rows):
            print(f"| {' | '.join(row)} |")
        print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
