"""Limits of this host on files, ports, memory and disk: one sentence, nothing lost or left."""

import errno
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.living import living
from tests.mounts import fill, mounted
from tests.mpi.cells import serve_command, write_config
from tests.mpi.jobs import play

from mls.core.errors import UserError
from mls.core.files import write

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


def failure(folder):
    return json.loads((folder / "failure.json").read_text())["message"]


def call(command, **options):
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, **options
    )
    assert "Traceback" not in process.stderr, process.stderr
    messages = [line for line in process.stderr.splitlines() if line.startswith("mls")]
    return process.returncode, messages  # MPI adds a line of its own to a failure


def test_too_few_open_files(server, tmp_path):
    path = write_config(tmp_path, server.url, inflight=100, iters=200)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    status, messages = call(serve_command(path, tmp_path / "out"), preexec_fn=limit)
    assert status == 1 and len(messages) == 1
    assert "Too many open files" in messages[0] and "ulimit -n" in messages[0]
    assert failure(tmp_path / "out") in messages[0]
    assert not server.replies


def test_a_rank_out_of_memory_ends_all_with_one_sentence(mpirun, server, tmp_path):
    options = ("--server", server.url, "--inflight", 4, "--duration", 8, "--max-tokens", 200)
    status, output, survivors = play(
        mpirun, "short_of_memory", 3, *options, "--warmup", 0, "--output", tmp_path
    )
    assert status != 0 and survivors == []
    assert output.count("Rank 2 ran out of memory") == 1
    assert "Traceback" not in output
    assert "Rank 2 ran out of memory" in failure(tmp_path)


def test_a_rank_killed_for_memory(mpirun, server, tmp_path):
    """SIGKILL, as from the kernel at a memory limit of the batch system."""
    path = write_config(tmp_path, server.url, ranks=2, iters=1000, max_tokens=200)
    command = serve_command(path, tmp_path / "out", mpirun.launcher, "-n", "2")
    process = subprocess.Popen(command, cwd=ROOT, env=mpirun.environment)
    try:
        until = time.monotonic() + LIMIT_S
        while not server.outstanding:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        ranks = [p for p in family if "mls.worker" in p.cmdline()[-20:] and "-n" not in p.cmdline()]
        ranks[-1].send_signal(signal.SIGKILL)
        assert process.wait(LIMIT_S) != 0
        assert living(family, within_s=5) == []
    finally:
        process.kill()
        process.wait()
    assert "was killed (SIGKILL), as the kernel does when memory runs out" in failure(
        tmp_path / "out"
    )


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_disk_that_fills_up_in_mid_run(server, tmp_path):
    small = tmp_path / "small"
    with mounted(small, "size=64k"):
        first = small / "repeat~1"
        assert call(serve_command(write_config(tmp_path, server.url), first))[0] == 0
        before = contents(first)
        assert {"run.json", "requests.parquet"} <= {path.name for path in before}
        path = write_config(
            tmp_path, server.url, keep_output=True, iters=60, max_tokens=60, inflight=50
        )
        status, messages = call(serve_command(path, small / "repeat~2"))
        assert status == 1 and len(messages) == 1
        assert "No space left on device" in messages[0] and "free some space" in messages[0]
        assert contents(first) == before
        assert not (small / "repeat~2" / "run.json").exists()
        assert not list((small / "repeat~2").glob(".*"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [("size=64k", "No space left on device"), ("ro", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_folder_that_takes_nothing_is_told_before_anything_is_sent(
    server, tmp_path, options, reason
):
    small = tmp_path / "small"
    with mounted(small, options):
        fill(small)
        status, messages = call(
            serve_command(write_config(tmp_path, server.url), small / "repeat~1")
        )
    assert status == 1 and len(messages) == 1 and reason in messages[0]
    assert not server.replies


def test_a_full_quota_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    (tmp_path / "kept").write_text("as it was")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"Disk quota exceeded.*free some of your quota"):
        write(tmp_path / "kept", "new")
    assert contents(tmp_path) == {tmp_path / "kept": b"as it was"}


PORTS = 40

OWN_NETWORK = """
import json, subprocess, sys
from pathlib import Path
from tests.servers.honest import HonestServer
from tests.mpi.cells import serve_command, write_config
folder = Path(sys.argv[1])
with HonestServer() as server:
    path = write_config(folder, server.url, iters=None, duration_s=30, reuse_connections=False)
    sys.exit(subprocess.run(serve_command(path, folder / "out")).returncode)
"""


def test_no_free_port_left(tmp_path):
    """Few ports, in a network namespace; each stays in use for a minute after its connection."""
    setup = (
        "ip link set lo up && echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse && "
        f"echo 50000 {50000 + PORTS - 1} > /proc/sys/net/ipv4/ip_local_port_range"
    )
    unshare = ["unshare", "--net", "sh", "-c"]
    if subprocess.run([*unshare, setup], capture_output=True).returncode:
        pytest.skip("network namespaces are not permitted here")
    run = shlex.join([sys.executable, "-c", OWN_NETWORK, str(tmp_path)])
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    status, messages = call(
        [*unshare, f"{setup} && exec {run}"], env=os.environ | {"PYTHONPATH": path}
    )
    assert status == 1 and len(messages) == 1
    assert "no connection for 5 s (Cannot assign requested address: this host" in messages[0]
    assert "no free port left" in messages[0] and "ip_local_port_range" in messages[0]
    assert (tmp_path / "out" / "requests.partial.parquet").exists()
