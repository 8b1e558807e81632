"""Hosts with addresses, names and clocks of their own, on one machine.

Each host is a Linux network namespace with a veth pair to a bridge. The bridge has a namespace to
itself, so nothing is added to the machine's own network. Processes on a host also have a host name
and IPC of their own, and a time namespace where the host's clock is shifted. See ip-netns(8),
time_namespaces(7).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_WAIT_S = 10
_SUBNET = "10.213.77"  # exists in the namespaces only, so the machine has no route to it

# takes ssh's arguments, starts in the home folder as ssh does, and passes no variables on
_AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ "{folder}/on-$host" sh -c "$*"
"""

_ON = """#!/bin/sh
exec ip netns exec {namespace} unshare --uts --ipc {clock} -- \\
    sh -c 'echo {name} > /proc/sys/kernel/hostname; exec "$@"' sh "$@"
"""


def obstacle() -> str | None:
    """The reason why this machine can't have such hosts; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare"):
        if not shutil.which(program):
            return f"{program} is not there (packages iproute2 and util-linux)"
    trial = f"mls{os.getpid()}-trial"
    process = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True)
    if process.returncode:
        return f"network namespaces can't be made here: {process.stderr.strip()}"
    try:
        command = [
            "ip",
            "netns",
            "exec",
            trial,
            "unshare",
            "--uts",
            "--ipc",
            "--time",
            "--fork",
            "true",
        ]
        process = subprocess.run(command, capture_output=True, text=True)
        return (
            f"no namespaces for names and clocks: {process.stderr.strip()}"
            if process.returncode
            else None
        )
    finally:
        subprocess.run(["ip", "netns", "del", trial], check=True)


class Network:
    """Context manager around the hosts `names`; it ends by killing all processes on them.

    ahead_s: seconds by which the monotonic clock of a host is ahead of this machine's.
    folder: gets the programs `agent` (in place of ssh) and `on-ADDRESS`.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, ahead_s: dict[str, int] | None = None
    ) -> None:
        self.names = list(names)
        self.agent = folder / "agent"
        self._folder = folder
        self._prefix = f"mls{os.getpid()}"
        self._ahead_s = ahead_s or {}

    def __enter__(self) -> Network:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def address(self, name: str) -> str:
        return f"{_SUBNET}.{self.names.index(name) + 1}"

    def on(self, name: str, *command: object) -> list[str]:
        """The command that runs `command` on a host."""
        return [str(self._folder / f"on-{self.address(name)}"), *map(str, command)]

    def processes(self) -> dict[int, str]:
        """Id → command line of all processes on any host now."""
        command_lines = {}
        for namespace in self._namespaces():
            process = subprocess.run(
                ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True
            )
            for pid in map(int, process.stdout.split()):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue  # the process has ended meanwhile
                command_lines[pid] = b" ".join(words).decode(errors="replace")
        return command_lines

    def survivors(self) -> dict[int, str]:
        """Id → command line of the processes that have not ended after a while."""
        deadline = time.monotonic() + _WAIT_S
        while (command_lines := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return command_lines

    def _make(self) -> None:
        switch = self._namespace("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "dev", "bridge", "up")
        for name in self.names:
            namespace = self._namespace(name)
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "dev", "lo", "up")
            veth = ("link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}")
            _ip("-n", namespace, *veth, "netns", switch)
            _ip("-n", switch, "link", "set", "dev", f"to-{name}", "master", "bridge", "up")
            _ip("-n", namespace, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "dev", "eth0", "up")
            ahead_s = self._ahead_s.get(name)
            clock = f"--time --monotonic {ahead_s} --fork --kill-child" if ahead_s else ""
            _program(
                self._folder / f"on-{self.address(name)}",
                _ON.format(namespace=namespace, clock=clock, name=name),
            )
        _program(self.agent, _AGENT.replace("{folder}", str(self._folder)))

    def _remove(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.survivors()
        for namespace in self._namespaces():
            _ip("netns", "del", namespace)

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _namespaces(self) -> list[str]:
        """The namespaces that exist; a network that failed to start has only some of them."""
        names = {self._namespace(name) for name in ("switch", *self.names)}
        process = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        namespaces = [line.split()[0] for line in process.stdout.splitlines() if line]
        return sorted(names & set(namespaces))


def _ip(*words: str) -> None:
    process = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert process.returncode == 0, f"ip {' '.join(words)}: {process.stderr}"


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
