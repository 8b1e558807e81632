"""`mls cell` with a server of any kind: commands in turn beside it, and nothing left, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.faults.serving import COMMAND, DEADLINE_S, assert_gone, line, wait_until

from mls.config.parse import parse_config
from mls.server.weights.models import describe_model

MEMBERS = 4
"""Keeper, the command, the child that serves, and an orphan."""
WRITE = "mkdir -p $4; touch $4/requests.parquet; echo {} > $4/run.json"
"""What a repeat leaves when it has a result: $2 is its number, $4 its folder."""


class MlsCell:
    """A cell with three repeats, each of which notes its number and the server's process."""

    def __init__(self, folder: Path, then: str, **server: Any) -> None:
        """then: what the shell of each repeat goes on with."""
        self.folder, self._ids = folder, folder / "ids"
        config = {
            "name": "x",
            "results": str(folder / "results"),
            "models": {"m": {"path": str(folder / "model")}},
            "server": {"engine": "command", "command": COMMAND, "reuse": "cell"} | server,
            "run": {"inflight": 2, "ranks": 1},
        }
        (folder / "config.json").write_text(json.dumps(config))
        options = ["--config", str(folder / "config.json")]
        mls = [sys.executable, "-m", "mls"]
        described = folder / "results" / "models" / "m.json"
        described.parent.mkdir(parents=True)
        (folder / "model").mkdir()
        (folder / "model" / "weights").touch()
        described.write_text(json.dumps(describe_model("m", parse_config(config), folder)))
        script = f'echo "$2 $$ $MLS_SERVER_PID $MLS_PROCESS" >> {self._ids}; {then}'
        shell = ["sh", "-c", script, "sh"]
        self.process = subprocess.Popen(
            [*mls, "cell", *options, "--log", str(folder / "logs" / "server"), "--", *shell],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def repeats(self) -> list[tuple[int, int, int, dict[str, Any]]]:
        """(number, id of its shell, id of the server, the process that it shares) of each so far."""
        text = self._ids.read_text() if self._ids.exists() else ""
        rows = [row.split(maxsplit=3) for row in text.splitlines(keepends=True) if row[-1] == "\n"]
        return [(int(n), int(sh), int(pid), json.loads(facts)) for n, sh, pid, facts in rows]

    def wait_for(self, number: int) -> list[psutil.Process]:
        """The processes of server and shell, once this repeat is there."""
        wait_until(lambda: len(self.repeats()) >= number)
        _, shell, keeper, _ = self.repeats()[number - 1]
        wait_until(lambda: len(psutil.Process(keeper).children(recursive=True)) > 2)
        server = [psutil.Process(keeper), *psutil.Process(keeper).children(recursive=True)]
        assert len(server) == MEMBERS
        return [*server, psutil.Process(shell)]

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out

    def files(self, name: str) -> list[int]:
        """Numbers of the repeats that have such a file."""
        paths = (self.folder / "results" / "runs").rglob(name)
        return sorted(int(path.parent.name.removeprefix("repeat~")) for path in paths)

    def message(self, number: int) -> str:
        (path,) = (self.folder / "results" / "runs").rglob(f"repeat~{number}/failure.json")
        return str(json.loads(path.read_text())["message"])


@pytest.fixture
def mls_cell(tmp_path: Path) -> Iterator[Any]:
    cells: list[MlsCell] = []

    def start(then: str, **server: Any) -> MlsCell:
        cells.append(MlsCell(tmp_path, then, **server))
        return cells[-1]

    yield start
    for cell in cells:
        cell.process.kill()
        cell.process.communicate()


def test_one_server_for_all_repeats(mls_cell: Any) -> None:
    cell = mls_cell(f"echo hello; {WRITE}")
    status, out = cell.end()
    assert status == 0, out
    repeats = cell.repeats()
    assert [number for number, *_ in repeats] == [1, 2, 3]
    assert len({pid for _, _, pid, _ in repeats}) == 1
    assert [facts.pop("run") for *_, facts in repeats] == [1, 2, 3]
    assert repeats[0][3] == repeats[2][3]
    assert cell.files("run.json") == [1, 2, 3]
    assert cell.files("failure.json") == cell.files("*kept*") == []
    logs = [cell.folder / "logs" / f"repeat~{n}" / "run.log" for n in (1, 2, 3)]
    assert [log.read_text() for log in logs] == ["hello\n"] * 3
    assert not psutil.pid_exists(repeats[0][2])


def test_a_repeat_that_fails_loses_no_other(mls_cell: Any) -> None:
    cell = mls_cell(f"if [ $2 = 2 ]; then exit 7; fi; {WRITE}")
    status, out = cell.end()
    assert status == 7
    assert cell.files("run.json") == cell.files("run.kept.json") == [1, 3]
    assert cell.files("failure.json") == [2]
    assert cell.message(2) in out and "exit status 7" in cell.message(2)


@pytest.mark.parametrize("who", [0, 1], ids=["keeper", "command"])
def test_a_server_that_dies_is_not_started_again(mls_cell: Any, who: int) -> None:
    cell = mls_cell(f"{WRITE}; if [ $2 = 2 ]; then sleep 600; fi")
    *server, shell = cell.wait_for(2)
    server[who].kill()
    assert_gone(*server[:2])
    shell.kill()
    status, _ = cell.end()
    assert status != 0
    assert cell.files("run.json") == [1]
    assert len(cell.repeats()) == 2
    assert cell.message(3).startswith("Not measured: the server, which all repeats of this cell")
    assert "was killed (SIGKILL" in cell.message(3)
    assert_gone(*server)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_ends_all(mls_cell: Any, sig: signal.Signals, number: int) -> None:
    cell = mls_cell(f"if [ $2 = {number} ]; then exec sleep 600; fi; {WRITE}")
    processes = cell.wait_for(number)
    cell.process.send_signal(sig)
    assert cell.process.wait(DEADLINE_S) in (128 + sig, -sig)
    assert_gone(*processes)
    assert cell.files("run.json") == [*range(1, number)]
    assert cell.files("failure.json") == [number]


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_it_loads_ends_all(mls_cell: Any, sig: signal.Signals) -> None:
    cell = mls_cell("true", command=[*COMMAND, "--loading-s", "600"])
    running = psutil.Process(cell.process.pid)

    def members() -> list[psutil.Process]:
        return [one for one in running.children(recursive=True) if "serve" in line(one)]

    wait_until(lambda: bool(members()))
    processes = running.children(recursive=True)
    os.kill(cell.process.pid, sig)
    assert cell.process.wait(DEADLINE_S) in (128 + sig, -sig)
    assert_gone(*processes)


def test_a_server_that_does_not_start_is_the_failure_of_all(mls_cell: Any) -> None:
    cell = mls_cell("true", command=["sh", "-c", "exit 3", "{port}"])
    status, out = cell.end()
    assert status == 1
    assert out.count("died while starting: it ended with exit status 3") == 1
    assert cell.files("failure.json") == [1, 2, 3]
    assert len({cell.message(number) for number in (1, 2, 3)}) == 1
