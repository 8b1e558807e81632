"""`serve` with the real engine, which is gone afterwards, however the run ends."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.faults.serving import DEADLINE_S, Serve, assert_gone, wait_for_children, wait_until

from mls.config.sections.pin import write_cpus
from mls.host.machine import usable_cores


def test_command_finds_a_healthy_server_with_the_slots_asked_for(serve: Serve) -> None:
    ask = (
        "import os, requests; url = os.environ['MLS_SERVER']; "
        "props = requests.get(url + '/props').json(); "
        "print(props['total_slots'], props['default_generation_settings']['n_ctx'], "
        "requests.get(url + '/v1/models').json()['data'][0]['id'])"
    )
    status, out, err = serve.run(sys.executable, "-c", ask, parallel=2, ctx=1024)
    assert (status, out.split()) == (0, ["2", "512", "m"]), err
    assert "listening" in serve.log.read_text()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs to keep apart")
def test_engine_and_command_are_kept_on_cpus_of_their_own(serve: Serve) -> None:
    first, *rest = sorted(os.sched_getaffinity(0))
    ask = (
        "import json, os; print(json.dumps([[sorted(os.sched_getaffinity(pid)) "
        "for pid in (int(os.environ['MLS_SERVER_PID']), 0)], os.environ['MLS_PINNED']]))"
    )
    status, out, err = serve.run(sys.executable, "-c", ask, pinned=[rest, [first]], threads=None)
    assert status == 0, err
    affinities, variable = json.loads(out)
    assert affinities == [rest, [first]]
    assert json.loads(variable) == {"server": write_cpus(rest), "ranks": str(first), "why": None}
    # the engine computes with as many threads as it has cores
    assert f"n_threads = {usable_cores(rest)}" in serve.log.read_text()


def test_exit_status_is_passed_on_and_the_engine_is_gone(serve: Serve) -> None:
    running, command, engine = serve.start_and_wait(f"{serve.until_release}; exit 7")
    serve.release()
    assert running.wait(DEADLINE_S) == 7
    assert_gone(command, engine)


def test_command_ended_by_a_signal(serve: Serve) -> None:
    status, _, _ = serve.run("sh", "-c", "kill -9 $$")
    assert status == 128 + signal.SIGKILL


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_command_and_engine(serve: Serve, sig: signal.Signals) -> None:
    running, command, engine = serve.start_and_wait("sleep 600; true")
    (sleeper,) = wait_for_children(command)
    running.send_signal(sig)
    assert running.wait(DEADLINE_S) == 128 + sig
    assert_gone(command, sleeper, engine)


def test_signal_while_loading(serve: Serve) -> None:
    process = serve.start("true")
    running = psutil.Process(process.pid)
    engine_and_sampler = wait_for_children(running, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert_gone(*engine_and_sampler)


def test_sigkill_takes_command_and_engine_along(serve: Serve) -> None:
    running, command, engine = serve.start_and_wait("exec sleep 600")
    running.kill()
    assert_gone(running, command, engine)


def test_command_that_ignores_sigterm_is_killed(serve: Serve) -> None:
    running, command, engine = serve.start_and_wait("trap '' TERM; while :; do sleep 1; done")
    running.terminate()
    assert running.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert_gone(command, engine)


def test_what_the_command_leaves_behind_is_ended(serve: Serve, tmp_path: Path) -> None:
    pid_file = tmp_path / "left"
    running, command, engine = serve.start_and_wait(
        f"setsid sleep 600 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; "
        f"{serve.until_release}"
    )
    wait_until(pid_file.exists)
    orphan = psutil.Process(int(pid_file.read_text()))
    serve.release()
    assert running.wait(DEADLINE_S) == 0
    assert_gone(command, engine, orphan)


def test_engine_killed_during_the_run(serve: Serve) -> None:
    status, out, err = serve.run("sh", "-c", "kill -9 $MLS_SERVER_PID; sleep 1; echo went on")
    assert status == 1
    assert out == "went on\n"
    assert "the server died during the run: it was killed (SIGKILL" in err
    assert str(serve.log) in err


@pytest.mark.parametrize("sig", ["INT", "TERM"])
def test_engine_asked_to_end_in_the_midst_of_replies(serve: Serve, sig: str) -> None:
    """The engine's destructor and a reply once waited for each other until the time limit."""
    ask = (
        "import os, signal, requests; url = os.environ['MLS_SERVER']; "
        "body = {'prompt': 'a', 'n_predict': 400, 'ignore_eos': True, 'stream': True}; "
        "replies = [requests.post(url + '/completion', json=body, stream=True) for _ in 'ab']; "
        "[next(reply.iter_lines()) for reply in replies]; "
        f"os.kill(int(os.environ['MLS_SERVER_PID']), signal.SIG{sig}); "
        "[reply.content for reply in replies]"
    )
    status, _, err = serve.run(sys.executable, "-c", ask, ctx=1024)
    assert status == 1
    assert f"the server died during the run: it was ended (SIG{sig})" in err


def test_engine_dying_does_not_hide_the_commands_status(serve: Serve) -> None:
    status, _, _ = serve.run("sh", "-c", "kill -9 $MLS_SERVER_PID; exit 5")
    assert status == 5


def test_out_of_memory_while_loading(tmp_path: Path, smollm2: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_600_000_000, 1_600_000_000))

    serve = Serve(tmp_path, smollm2)
    status, _, err = serve.run("true", before=limit, ctx=200_000)
    assert status == 1
    assert "died while starting" in err
    assert "failed to allocate" in err
    assert str(serve.log) in err
    assert len(err.splitlines()) == 1


def test_damaged_model(tmp_path: Path, smollm2: Path) -> None:
    model = tmp_path / "cut.gguf"
    with smollm2.open("rb") as whole:
        model.write_bytes(whole.read(3_000_000))
    status, _, err = Serve(tmp_path, model).run("true")
    assert status == 1
    assert "model is corrupted or incomplete" in err


def test_not_ready_in_time(serve: Serve) -> None:
    status, _, err = serve.run("true", startup_timeout_s=0.1)
    assert status == 1
    assert "not ready within 0.1 s; raise server.startup_timeout_s" in err


def test_port_taken(serve: Serve) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        status, _, err = serve.run("true", port=port)
    assert status == 1
    assert f"server.port: {port} is taken" in err


def test_address_of_another_host(serve: Serve) -> None:
    status, _, err = serve.run("true", host="192.0.2.1")  # reserved for documentation
    assert status == 1
    assert "server.host: 192.0.2.1 can't be listened at" in err


def test_unknown_engine_parameter(serve: Serve) -> None:
    status, _, err = serve.run("true", extra_args=["n_bach=3"])
    assert status == 1
    assert err.startswith("UserError: server.extra_args: xllamacpp has no parameter 'n_bach'")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["no-such-command"], "no-such-command was not found"),
        (["/nowhere/mpirun", "-n", "2"], "install an MPI"),
        ([], "give COMMAND"),
    ],
)
def test_command_not_found(serve: Serve, command: list[str], words: str) -> None:
    status, _, err = serve.run(*command)
    assert status == 1
    assert words in err
    assert not serve.log.exists(), "the engine was started for nothing"


def test_log_that_cannot_be_written(serve: Serve) -> None:
    serve.log = Path("/proc/nowhere/server.log")
    status, _, err = serve.run("true")
    assert status == 1
    assert "/proc/nowhere/server.log can't be written" in err


def test_missing_model(tmp_path: Path) -> None:
    status, _, err = Serve(tmp_path, tmp_path / "none.gguf").run("true")
    assert status == 1
    assert "none.gguf is missing" in err


def test_llama_server_that_does_not_know_an_option(tmp_path: Path, smollm2: Path) -> None:
    binary = tmp_path / "llama-server"
    binary.write_text(
        "#!/bin/sh\necho 'loading' >&2\necho 'error: invalid argument: --slots' >&2\nexit 1\n"
    )
    binary.chmod(0o755)
    status, _, err = Serve(tmp_path, smollm2).run("true", engine="llama-server", binary=str(binary))
    assert status == 1
    assert "its log says: error: invalid argument: --slots" in err


def test_running_server_is_passed_through(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    status, out, err = Serve(tmp_path, None).run("sh", "-c", "echo $MLS_SERVER", url=url)
    assert (status, out.strip()) == (0, url), err


def test_the_processes_of_a_running_server_are_sampled(tmp_path: Path) -> None:
    listen = (
        "import socket, time; server = socket.create_server(('127.0.0.1', 0)); "
        "print(server.getsockname()[1], flush=True); time.sleep(999)"
    )
    ask = (
        "import time; from mls.server.telemetry.samples import collect\n"
        "while (table := collect(0, time.monotonic_ns())) is None "  # the sampler is starting
        "or 'server' not in table['source'].to_pylist(): time.sleep(0.1)"
    )
    with subprocess.Popen([sys.executable, "-c", listen], stdout=subprocess.PIPE) as server:
        assert server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        try:
            status, _, err = Serve(tmp_path, None).run(sys.executable, "-c", ask, url=url)
        finally:
            server.kill()
    assert status == 0, err


def test_api_key_guards_the_managed_engine(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "test-key-of-this-run"
    monkeypatch.setenv("MLS_TEST_KEY", key)
    ask = (
        "import os, requests; url = os.environ['MLS_SERVER'] + '/props'; "
        "print(requests.get(url).status_code, "
        f"requests.get(url, headers={{'Authorization': 'Bearer {key}'}}).status_code)"
    )
    status, out, err = serve.run(sys.executable, "-c", ask, api_key_env="MLS_TEST_KEY")
    assert (status, out.split()) == (0, ["401", "200"]), err
    assert key not in serve.log.read_text()


HEALTH = "import os, requests; print(requests.get(os.environ['MLS_SERVER'] + '/health').text)"


def stand_in(folder: Path, name: str, writes: str) -> None:
    """A profiler that writes its report after the engine's end, as the real ones do.

    writes: shell commands for the report; `$out` is the path in the profiler's last option.
    """
    folder.mkdir()
    program = folder / name
    program.write_text(
        "#!/bin/sh\n"
        'out=$(echo "$*" | sed "s/.*--\\(export\\|output\\) \\([^ ]*\\).*/\\2/")\n'
        'while [ "$1" != "$out" ]; do shift; done; shift\n'
        f'"$@"\nsleep 1\n{writes}\n'
    )
    program.chmod(0o755)


@pytest.mark.parametrize("name", ["nsys", "ncu"])
def test_a_profiler_has_the_time_to_write_its_report(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stand_in(tmp_path / "bin", name, 'echo report > "$out"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    status, out, err = serve.run(sys.executable, "-c", HEALTH, profile=name)
    assert (status, "ok" in out) == (0, True), err
    assert serve.log.with_name(f"server.log.{name}-rep").read_text() == "report\n"
    assert "profile" not in err


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        ('echo raw > "${out%.nsys-rep}.qdstrm"', "server.log.qdstrm with a whole Nsight Systems"),
        ("exit 1", "server.log.nsys-rep was not written"),
    ],
    ids=["not converted", "nothing"],
)
def test_a_profile_that_is_not_there_is_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: str, message: str
) -> None:
    """The first case is the nsys that comes with ncu: it has no importer."""
    stand_in(tmp_path / "bin", "nsys", writes)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    _, out, err = serve.run(sys.executable, "-c", HEALTH, profile="nsys")
    assert "ok" in out
    assert message in err
