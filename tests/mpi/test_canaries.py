"""Canaries of open loops, of datasets and of several ranks: in the load, and judged."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.mpi.conftest import Mpirun
from tests.mpi.jobs import run_in_turn
from tests.servers.speaking import Asking, Said, Speech, Uncached, sound

REQUESTS, CANARIES, ALONE = 32, 2, 2
LOADS: dict[str, tuple[int, dict[str, Any]]] = {
    "several ranks": (3, {}),
    "open loop": (2, {"load": {"kind": "poisson", "rate": 200}}),
    "dataset": (2, {"workload": {"kind": "dataset", "file": "rows.jsonl"}}),
}


class OtherUnderLoad:
    """What a prompt is answered after it was asked alone, twice, is reversed."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def __call__(self, asking: Asking) -> Said:
        self._asked[asking.prompt] += 1
        text = sound(asking).text
        return Said(text if self._asked[asking.prompt] <= ALONE else text[::-1])


SPEECHES: dict[str, Callable[[], Speech]] = {"pass": lambda: sound, "fail": OtherUnderLoad}
"""Status of `replies_alike` → a server's speech that has it."""


def options_of(folder: Path, url: str, ranks: int, keys: dict[str, Any]) -> list[object]:
    """The worker's options of a run whose canaries are in the load; its config is written."""
    folder.mkdir()
    run = {"inflight": 4, "ranks": ranks, "iters": REQUESTS, "warmup": 0, "max_tokens": 16}
    if ranks > 2:  # a busy machine may leave one of them all that is handed out as it is asked for
        run["dispatch"] = "static"
    config = {"models": {"m": {"served_as": "honest"}}, "server": {"url": url}}
    config |= {"run": run | {"ignore_eos": False}, "replies": {"canaries": CANARIES}} | keys
    (folder / "config.json").write_text(json.dumps(config))
    return ["--config", folder / "config.json", "--output", folder]


@pytest.mark.parametrize(("ranks", "keys"), LOADS.values(), ids=LOADS)
def test_canaries_are_in_the_load_and_judged(
    mpich: Mpirun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ranks: int,
    keys: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"What is {n} times {n}?"}) for n in range(64)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    with contextlib.ExitStack() as stack:
        options = [
            options_of(tmp_path / status, stack.enter_context(Uncached(speech())).url, ranks, keys)
            for status, speech in SPEECHES.items()
        ]
        process = run_in_turn(mpich, ranks, tmp_path, options)
    assert process.returncode == 0, process.stdout + process.stderr
    for status in SPEECHES:
        result = json.loads((tmp_path / status / "run.json").read_text())
        table = pq.read_table(tmp_path / status / "requests.parquet")
        replies = Counter(table["canary"].drop_null().to_pylist())
        each = REQUESTS // result["canaries"]["every"] // CANARIES
        assert replies == dict.fromkeys(range(CANARIES), each)
        if ranks > 2:
            senders = {row["rank"] for row in table.to_pylist() if row["canary"] is not None}
            assert len(senders) > 1
        verdicts = {verdict["check"]: verdict["status"] for verdict in result["verdicts"]}
        assert verdicts["replies_alike"] == status
        assert result["canaries"]["requests"] == CANARIES * ALONE
