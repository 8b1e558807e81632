"""Hosts with addresses, names and clocks of their own, on one machine.

Each is a Linux network namespace with a veth pair to a bridge, which has a namespace to itself,
so nothing is added to the machine's own network. What runs on a host also has a host name and IPC of
its own, and, where its clock is shifted, a time namespace. See ip-netns(8), time_namespaces(7).
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
_SUBNET = "10.213.77"  # in no route of the machine: it exists within the namespaces only

# called as ssh is, and like ssh it starts at home and passes no variables on
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


def why_not() -> str | None:
    """Why there can be no such hosts on this machine; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare"):
        if not shutil.which(program):
            return f"{program} is not there (packages iproute2 and util-linux)"
    trial = f"mls{os.getpid()}-trial"
    made = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True)
    if made.returncode:
        return f"network namespaces can't be made here: {made.stderr.strip()}"
    try:
        shifted = [
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
        done = subprocess.run(shifted, capture_output=True, text=True)
        return (
            f"no namespaces for names and clocks: {done.stderr.strip()}"
            if done.returncode
            else None
        )
    finally:
        subprocess.run(["ip", "netns", "del", trial], check=True)


class Network:
    """Context manager around the hosts `names`; all that runs on them is killed at its end.

    ahead_s: seconds by which the monotonic clock of a host is ahead of this machine's.
    folder: where the programs `agent` (instead of ssh) and `on-ADDRESS` are put.
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
        """Ids and command lines of all that runs on any host now."""
        found = {}
        for namespace in self._namespaces():
            listed = subprocess.run(
                ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True
            )
            for pid in map(int, listed.stdout.split()):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue  # it has ended meanwhile
                found[pid] = b" ".join(words).decode(errors="replace")
        return found

    def left(self) -> dict[int, str]:
        """What still runs after a while."""
        until = time.monotonic() + _WAIT_S
        while (found := self.processes()) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def _make(self) -> None:
        switch = self._namespace("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "dev", "bridge", "up")
        for name in self.names:
            own = self._namespace(name)
            _ip("netns", "add", own)
            _ip("-n", own, "link", "set", "dev", "lo", "up")
            veth = ("link", "add", "eth0", "type", "veth", "peer", "name", f"to-{name}")
            _ip("-n", own, *veth, "netns", switch)
            _ip("-n", switch, "link", "set", "dev", f"to-{name}", "master", "bridge", "up")
            _ip("-n", own, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", own, "link", "set", "dev", "eth0", "up")
            ahead_s = self._ahead_s.get(name)
            clock = f"--time --monotonic {ahead_s} --fork --kill-child" if ahead_s else ""
            _program(
                self._folder / f"on-{self.address(name)}",
                _ON.format(namespace=own, clock=clock, name=name),
            )
        _program(self.agent, _AGENT.replace("{folder}", str(self._folder)))

    def _remove(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.left()
        for namespace in self._namespaces():
            _ip("netns", "del", namespace)

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _namespaces(self) -> list[str]:
        """Those that there are; a network that failed while it was made has only some."""
        ours = {self._namespace(name) for name in ("switch", *self.names)}
        listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        there = [line.split()[0] for line in listed.stdout.splitlines() if line]
        return sorted(ours & set(there))


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
