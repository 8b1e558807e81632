"""The pipeline against real engines: `make test-engines [ENGINES="vllm nginx"]`.

Each engine has an environment of its own in `build/engines`, which takes minutes and gigabytes. Prints
a table, and ends with 1 where an engine isn't what docs/ENGINES.md says of it.
"""

from __future__ import annotations

import sys
import time

from tests.engines.catalogue import ENGINES
from tests.engines.environments import BUILD, MissingError, programs
from tests.engines.outcome import outcome
from tests.engines.pipeline import run

from mls.core.errors import UserError
from mls.host.lock import only_one


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
    rows, failed = [], False
    for name in names or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            result = outcome(known[name], run(known[name], programs(known[name])))
        except MissingError as error:
            row, failed = (f"no result: {error}", "", "", ""), True
        else:
            failed = failed or bool(result.problems)
            row = (
                "; ".join(result.problems) or "as expected",
                ", ".join(result.knows) or "nothing",
                result.figures,
                ", ".join(result.doubts) or "none",
            )
        rows.append((name, *row, f"{time.monotonic() - began:.0f}"))
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    titles = ("engine", "outcome", "known", "figures", "other checks that warn or fail", "s")
    for row_ in (titles, ("---",) * len(titles), *rows):
        print(f"| {' | '.join(row_)} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
