"""Canaries of open loops, of datasets and of several ranks: in the load, and judged."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.mpi.conftest import Mpirun
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


def measure(
    mpich: Mpirun, folder: Path, speech: Speech, ranks: int, keys: dict[str, Any]
) -> dict[str, Any]:
    """`run.json` of a run against a server that speaks so, whose canaries are in the load."""
    rows = [json.dumps({"prompt": f"What is {n} times {n}?"}) for n in range(64)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    run = {"inflight": 4, "ranks": ranks, "iters": REQUESTS, "warmup": 0, "max_tokens": 16}
    path, output = folder / "config.json", folder / "output"
    with Uncached(speech) as server:
        config = {"models": {"m": {"served_as": "honest"}}, "server": {"url": server.url}}
        config |= {"run": run | {"ignore_eos": False}, "replies": {"canaries": CANARIES}} | keys
        path.write_text(json.dumps(config))
        process = mpich.run(ranks, "--config", path, "--output", output)
    assert (output / "run.json").is_file(), process.stdout + process.stderr
    result: dict[str, Any] = json.loads((output / "run.json").read_text())
    table = pq.read_table(output / "requests.parquet")
    replies = Counter(table["canary"].drop_null().to_pylist())
    each = REQUESTS // result["canaries"]["every"] // CANARIES
    assert replies == dict.fromkeys(range(CANARIES), each)
    if ranks > 2:
        senders = {row["rank"] for row in table.to_pylist() if row["canary"] is not None}
        assert len(senders) > 1
    return result


@pytest.mark.parametrize("alike", [True, False], ids=["alike", "other"])
@pytest.mark.parametrize(("ranks", "keys"), LOADS.values(), ids=LOADS)
def test_canaries_are_in_the_load_and_judged(
    mpich: Mpirun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ranks: int,
    keys: dict[str, Any],
    alike: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = measure(mpich, tmp_path, sound if alike else OtherUnderLoad(), ranks, keys)
    status = {verdict["check"]: verdict["status"] for verdict in result["verdicts"]}
    assert status["replies_alike"] == ("pass" if alike else "fail")
    assert result["canaries"]["requests"] == CANARIES * ALONE
