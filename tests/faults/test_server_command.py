"""`serve` with a server of any kind, whose processes are all gone afterwards, however it ends."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults.serving import COMMAND, DEADLINE_S, ServeCommand, assert_gone, line

MEMBERS = 4
"""Keeper, the command, the child that serves, and an orphan."""


def test_the_words_reach_the_command(serve_command: ServeCommand) -> None:
    words = ["{model}", "{name}", "{host}", "{threads}", "{parallel}", "{ctx}", "{{}}"]
    program = (
        "import os, sys; print(sys.argv[1:], os.environ['MLS_TEST'], flush=True); sys.path[:0] = "
        "['.']; from tests.servers.honest import HonestServer; "
        "HonestServer(int(sys.argv[-1])).serve_forever()"
    )
    command = [sys.executable, "-c", program, *words, "{port}"]
    ask = "echo $MLS_SERVER"
    options = {"command": command, "threads": 3, "parallel": 2, "environment": {"MLS_TEST": "yes"}}
    status, out, err = serve_command.run("sh", "-c", ask, **options)
    assert status == 0, err
    model = serve_command.log.with_name("model")
    port = out.strip().rpartition(":")[2]
    expected = [str(model), "m", "127.0.0.1", "3", "2", "8192", "{}", port]
    assert f"{expected} yes" in serve_command.log.read_text()


def test_it_is_waited_for_while_it_loads(serve_command: ServeCommand) -> None:
    ask = "import os, requests; print(requests.get(os.environ['MLS_SERVER'] + '/health').text)"
    command = [*COMMAND, "--loading-s", "1"]
    status, out, err = serve_command.run(sys.executable, "-c", ask, command=command)
    assert (status, out.strip()) == (0, '{"status": "ok"}'), err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"command": [*COMMAND, "--loading-s", "60"]}, "/health is answered with HTTP 503"),
        ({"ready": "/nowhere"}, "/nowhere is answered with HTTP 404"),
        (
            {"command": ["sh", "-c", "exec sleep 600", "{port}"]},
            "none of its processes listens on port",
        ),
    ],
    ids=["loading", "other path", "deaf"],
)
def test_not_ready_in_time(
    serve_command: ServeCommand, options: dict[str, Any], words: str
) -> None:
    status, _, err = serve_command.run("true", startup_timeout_s=3, **options)
    assert status == 1
    assert "not ready within 3 s; raise server.startup_timeout_s" in err
    assert words in err
    assert len(err.splitlines()) == 1


def test_it_dies_at_its_start(serve_command: ServeCommand) -> None:
    program = "import sys; print('ValueError: no such model', file=sys.stderr); sys.exit(3)"
    command = [sys.executable, "-c", program, "{port}"]
    status, _, err = serve_command.run("true", command=command)
    assert status == 1
    assert "died while starting: it ended with exit status 3, and its log says: ValueError" in err


def test_it_crashes_at_its_start(serve_command: ServeCommand) -> None:
    status, _, err = serve_command.run("true", command=["sh", "-c", "kill -SEGV $$", "{port}"])
    assert status == 1
    assert "died while starting: it crashed (SIGSEGV)" in err


def test_the_program_is_missing(serve_command: ServeCommand) -> None:
    status, _, err = serve_command.run("true", command=["no-such-server", "{port}"])
    assert status == 1
    assert "server.command: no-such-server was not found" in err
    assert len(err.splitlines()) == 1


def test_the_program_is_no_program(serve_command: ServeCommand, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    status, _, err = serve_command.run("true", command=[str(program), "{port}"])
    assert status == 1
    assert "can't be started: Exec format error" in err


def test_port_taken(serve_command: ServeCommand) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        status, _, err = serve_command.run("true", port=port)
    assert status == 1
    assert f"server.port: {port} is taken" in err


def test_the_key_is_in_its_environment_alone(
    serve_command: ServeCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "test-key-of-this-run"
    monkeypatch.setenv("MLS_TEST_KEY", key)
    ask = (
        "import os, psutil, requests; url = os.environ['MLS_SERVER'] + '/v1/models'; "
        "print(requests.get(url).status_code, "
        "requests.get(url, headers={'Authorization': 'Bearer ' + os.environ['MLS_TEST_KEY']})"
        ".status_code); keeper = psutil.Process(int(os.environ['MLS_SERVER_PID'])); "
        "print([one.cmdline() for one in [keeper, *keeper.children(recursive=True)]])"
    )
    options = {"api_key_env": "MLS_TEST_KEY", "ready": "/v1/models"}
    status, out, err = serve_command.run(sys.executable, "-c", ask, **options)
    assert (status, out.split()[:2]) == (0, ["401", "200"]), err
    assert key not in out + serve_command.log.read_text()


def test_all_its_processes_are_gone_after_the_run(serve_command: ServeCommand) -> None:
    running, command, _ = serve_command.start_and_wait(f"{serve_command.until_release}; exit 7")
    members = serve_command.members()
    assert len(members) == MEMBERS
    serve_command.release()
    assert running.wait(DEADLINE_S) == 7
    assert_gone(command, *members)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_under_load_ends_all(serve_command: ServeCommand, sig: signal.Signals) -> None:
    running, command, _ = serve_command.start_and_wait("exec sleep 600")
    members = serve_command.members()
    running.send_signal(sig)
    assert_gone(running, command, *members)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_it_loads_ends_all(serve_command: ServeCommand, sig: signal.Signals) -> None:
    process = serve_command.start("true", command=[*COMMAND, "--loading-s", "600"])
    members = serve_command.members()
    process.send_signal(sig)
    assert process.wait(DEADLINE_S) in (128 + sig, -sig)
    assert_gone(*members)


@pytest.mark.parametrize("who", [0, 1, 2], ids=["keeper", "command", "child"])
def test_one_of_its_processes_is_killed_during_the_run(
    serve_command: ServeCommand, who: int
) -> None:
    _, command, _ = serve_command.start_and_wait(serve_command.until_release)
    members = serve_command.members()
    serves = [one for one in members if "serve" in line(one)]
    [members[0], members[1], *serves][who].kill()
    assert_gone(members[0])
    serve_command.release()
    assert serve_command.process
    _, err = serve_command.process.communicate(timeout=DEADLINE_S)
    assert serve_command.process.returncode == 1
    assert "the server died during the run: it " in err
    assert_gone(command, *members)


def test_a_fleet_of_several(serve_command: ServeCommand) -> None:
    ask = (
        "import os, requests; urls = os.environ['MLS_SERVER'].split(); "
        "print([requests.get(url + '/health').status_code for url in urls])"
    )
    status, out, err = serve_command.run(sys.executable, "-c", ask, fleet=2)
    if "need a core each" in err:
        pytest.skip("needs a core for each of two servers")
    assert (status, out.strip()) == (0, "[200, 200]"), err
