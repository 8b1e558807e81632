"""`serve` with a command that starts together with the server, and waits for it at the gate."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest
from tests.faults.serving import COMMAND, DEADLINE_S, ServeCommand, assert_gone, line, wait_until

from mls.core.errors import UserError
from mls.host.launch.gate import VARIABLE, Gate, pass_gate

LOADING = [*COMMAND, "--loading-s", "60"]


def passing(mark: Path) -> list[str]:
    """A command that makes the file `mark`, passes the gate, and tells what it finds there."""
    program = (
        "import os, sys; from pathlib import Path; from mls.host.launch.gate import pass_gate; "
        "before = os.environ['MLS_SERVER']; Path(sys.argv[1]).touch(); "
        "print([before, pass_gate(), os.environ['MLS_SERVER'], 'MLS_SERVER_PID' in os.environ])"
    )
    return [sys.executable, "-c", program, str(mark)]


def after(mark: Path, then: str) -> list[str]:
    """A server that does nothing until the file is there. then: what a shell executes, with $0."""
    return ["sh", "-c", f"until [ -e {mark} ]; do sleep 0.05; done; {then}", "{port}"]


def test_the_command_is_there_before_the_server(serve_command: ServeCommand) -> None:
    mark = serve_command.log.with_name("mark")
    server = f"exec {' '.join(COMMAND[:-1])} $0"
    status, out, err = serve_command.run(*passing(mark), at_once=True, command=after(mark, server))
    assert status == 0, err
    assert out.startswith("['', True, 'http://127.0.0.1:")
    assert out.endswith("', True]\n")


def test_a_server_that_dies_meanwhile_is_one_sentence(serve_command: ServeCommand) -> None:
    mark = serve_command.log.with_name("mark")
    status, out, err = serve_command.run(
        *passing(mark), at_once=True, command=after(mark, "exit 3")
    )
    assert (status, out) == (1, "['', False, '', False]\n")
    assert "The server died while starting: it ended with exit status 3" in err
    assert len(err.splitlines()) == 1


def test_a_command_that_ends_meanwhile_ends_all(serve_command: ServeCommand) -> None:
    status, _, err = serve_command.run("sh", "-c", "exit 7", at_once=True, command=LOADING)
    assert (status, err) == (7, "")


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_meanwhile_ends_both(serve_command: ServeCommand, sig: signal.Signals) -> None:
    process = serve_command.start("sleep", "600", at_once=True, command=LOADING)
    running, members = psutil.Process(process.pid), serve_command.members()
    wait_until(lambda: any(line(one)[-1:] == ["600"] for one in running.children()))
    tree = running.children(recursive=True)
    process.send_signal(sig)
    assert process.wait(DEADLINE_S) == 128 + sig
    assert_gone(*tree, *members)


def test_without_a_gate_there_is_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert pass_gate()


def test_a_gate_of_another_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Gate() as gate:
        path = gate.variables[VARIABLE]
    monkeypatch.setenv(VARIABLE, path)
    with pytest.raises(UserError, match="is not on this host; start `mls serve` without --at-once"):
        pass_gate()
