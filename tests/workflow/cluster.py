"""A real Slurm on loopback: munged, slurmctld and two nodes, all in one folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mls.host.processes.lifetime import die_with_parent

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun")
NODES = ("n1", "n2")
CPUS = 8
_START_S = 60

_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=30 State=UP
"""


def obstacle() -> str | None:
    """The reason why Slurm can't be started here; None where it can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"no {', '.join(absent)}: sudo apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "Slurm's node daemons need root"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Cluster:
    """A context manager: its daemons start with the block.

    At the block's end all jobs are cancelled, and then the daemons end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._conf = folder / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        # within a job Snakemake's executor drops SLURM_CONF, which a cluster doesn't need
        bin_folder = folder / "bin"
        self.environment = {
            "SLURM_CONF": str(self._conf),
            "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{_path()}",
        }
        bin_folder.mkdir()
        (bin_folder / "srun").write_text(
            f'#!/bin/sh\nexport SLURM_CONF={self._conf}\nexec {shutil.which("srun")} "$@"\n'
        )
        (bin_folder / "srun").chmod(0o755)

    def __enter__(self) -> Cluster:
        for node in NODES:
            (self._folder / node).mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        text = _CONF.format(
            folder=self._folder, host=socket.gethostname(), ports=_free_ports(3), cpus=CPUS
        )
        self._conf.write_text(text)
        try:
            self._start(
                *("munged", "--foreground", "--force", f"--key-file={key}"),
                *(f"--{name}-file={self._folder}/munged.{name}" for name in ("pid", "log", "seed")),
                f"--socket={self._folder}/munge.sock",
            )
            self._wait(lambda: (self._folder / "munge.sock").exists())
            self._start("slurmctld", "-D", "-f", str(self._conf))
            for node in NODES:
                self._start("slurmd", "-D", "-N", node, "-f", str(self._conf))
            self._wait(lambda: self.ask("sinfo", "-h", "-o", "%D %t").split() == ["2", "idle"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.ask("scancel", "--user=root")
            self._wait(lambda: not self.ask("squeue", "-h"))
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def survivors(self) -> list[int]:
        """Ids of the daemons that have not ended."""
        return [daemon.pid for daemon in self._daemons if psutil.pid_exists(daemon.pid)]

    def ask(self, *command: str) -> str:
        """The output of one of Slurm's commands; "" while the controller doesn't answer."""
        process = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60
        )
        return process.stdout.strip()

    def jobs(self, rule: str) -> list[dict[str, str]]:
        """Slurm's own record of each job of a rule."""
        lines = self.ask("scontrol", "show", "job", "-o").splitlines()
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return [job for job in jobs if job.get("Comment", "").startswith(f"rule_{rule}_")]

    def _start(self, program: str, *options: str) -> None:
        path = shutil.which(program, path=_path())
        assert path
        with (self._folder / f"{program}-{len(self._daemons)}.out").open("wb") as out:
            daemon = subprocess.Popen(
                [path, *options],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=die_with_parent,
            )
        self._daemons.append(daemon)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not condition():
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                output = "\n".join(path.read_text()[-500:] for path in self._folder.glob("*.out"))
                raise RuntimeError(f"Slurm isn't as it should be (ended: {dead}):\n{output}")
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
