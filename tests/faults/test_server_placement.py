"""Several managed servers side by side: all of them answer, and none outlives the run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator

import psutil
import pytest
from tests.faults.serving import DEADLINE_S, Serve, assert_gone, wait_for_children

from mls.host.machine import cores

pytestmark = pytest.mark.skipif(
    len(cores(os.sched_getaffinity(0))) < 2, reason="needs a core for each of two servers"
)


def test_each_answers_on_cpus_of_its_own(serve: Serve) -> None:
    ask = (
        "import os, requests; "
        "urls = os.environ['MLS_SERVER'].split(); "
        "print([requests.get(url + '/health').status_code for url in urls], "
        "[sorted(os.sched_getaffinity(int(p))) for p in os.environ['MLS_SERVER_PID'].split()])"
    )
    status, out, err = serve.run(sys.executable, "-c", ask, fleet=2)
    assert status == 0, err
    answers, _, affinities = out.partition("] ")
    assert answers == "[200, 200"
    first, second = map(set, eval(affinities))
    assert first and second and not first & second
    for log in (serve.log, serve.log.with_name("server.log.2")):
        assert "listening" in log.read_text()


@contextlib.contextmanager
def free_port_before_another() -> Iterator[int]:
    """A free port; the next one is taken by this process, whoever has the ports around."""
    while True:
        with socket.socket() as one, socket.socket() as next_:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                next_.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            next_.listen()
            one.close()
            yield port
            return


def test_a_port_is_that_of_the_first(serve: Serve) -> None:
    with free_port_before_another() as port:
        status, _, err = serve.run("true", fleet=2, port=port)
    assert status == 1
    assert f"server.port: {port + 1} is taken" in err
    status, _, err = Serve(serve.log.parent, None).run("true", fleet=2, port=65535)
    assert status == 1


def test_when_one_dies_the_run_fails_and_all_end(serve: Serve) -> None:
    script = "kill -9 ${MLS_SERVER_PID#* }; sleep 1; echo went on; echo $MLS_SERVER_PID"
    status, out, err = serve.run("sh", "-c", script, fleet=2)
    assert status == 1
    went, ids = out.splitlines()
    assert went == "went on"
    assert err.count("the server died during the run: it was killed (SIGKILL") == 1
    assert "server.log.2" in err
    assert not any(psutil.pid_exists(int(pid)) for pid in ids.split())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all(serve: Serve, sig: signal.Signals) -> None:
    process = serve.start("sleep", "600", fleet=2)
    engines = wait_for_children(psutil.Process(process.pid), 2)
    process.send_signal(sig)
    process.wait(DEADLINE_S)
    assert_gone(*engines)


def test_when_one_cannot_be_started_none_is_left(serve: Serve, tmp_path) -> None:
    ids = tmp_path / "engines"
    binary = tmp_path / "llama-server"
    binary.write_text(  # starts on ports that begin with 2, and refuses on others
        f"#!/bin/sh\necho $$ >> {ids}\n"
        'case "$*" in *"--port 2"*) exec sleep 600 ;; esac\necho "error: no" >&2\nexit 1\n'
    )
    binary.chmod(0o755)
    status, _, err = serve.run(
        "true", fleet=2, engine="llama-server", binary=str(binary), startup_timeout_s=2
    )
    assert status == 1
    assert "died while starting" in err or "not ready within 2 s" in err
    assert not any(psutil.pid_exists(int(pid)) for pid in ids.read_text().split())
