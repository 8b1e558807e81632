"""The sockets that listen at a URL on this host, and the processes that hold them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import psutil

_NET = Path("/proc/self/net")
_TCP_LISTEN = "0A"
_UNIX_LISTENS = 0x10000  # __SO_ACCEPTCON

_STARTERS = {"systemd", "init"}
"""Programs that may hold a socket for a service that they start, which holds it too."""

_PASS_ON = _STARTERS | {
    "caddy", "com.docker.backend", "conmon", "containerd-shim", "docker-proxy", "envoy", "gvproxy",
    "haproxy", "kubectl", "litellm", "nginx", "passt", "pasta", "rootlesskit", "rootlessport", "slirp4netns",
    "socat", "ssh", "sshd", "sshd-session", "systemd-socket-proxyd", "traefik", "wslrelay.exe",
}  # fmt: skip
"""Programs that pass requests on; the engine is some other process, here or elsewhere."""

Hidden = Literal["not told", "nobody", "other user", "passed on"]
"""Why a server's processes can't be known. `not told`: the system doesn't tell. `nobody`: no
process listens there in this network namespace. `other user`: they are another user's.
`passed on`: the program that listens passes requests on."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Listener(NamedTuple):
    """The processes that listen at a URL, and why they can't be known if so."""

    pids: frozenset[int] = frozenset()
    hidden: Hidden | None = None
    who: str | None = None
    """The other user, or the program that passes requests on."""


def here(url: str) -> bool:
    """Whether the URL's host is this host."""
    if url.startswith("http+unix:"):
        return True
    host_addresses = {
        ipaddress.ip_address(one.address.partition("%")[0])
        for each in psutil.net_if_addrs().values()
        for one in each
        if one.family in (socket.AF_INET, socket.AF_INET6)
    }
    return any(each.is_loopback or each in host_addresses for each in _addresses(url))


def listeners(urls: list[str]) -> list[Listener]:
    """The listener at each URL of this host. It reads the open files of all processes once."""
    try:
        sockets = [dict(_sockets(url)) for url in urls]
    except OSError:
        return [Listener(hidden="not told") for _ in urls]
    holders = _holders({inode for each in sockets for inode in each})
    return [_listener(each, holders) for each in sockets]


def _listener(owners: dict[str, str], holders: dict[str, set[int]]) -> Listener:
    """The listener at a URL. owners: inode of each socket → user. holders: inode → processes."""
    if not owners:
        return Listener(hidden="nobody")
    names = {pid: _name(pid) for inode in owners for pid in holders.get(inode, ())}
    if set(names.values()) - _STARTERS:
        names = {pid: name for pid, name in names.items() if name not in _STARTERS}
    pids = frozenset(names)
    for inode, user in owners.items():
        if not holders.get(inode):
            return Listener(pids, "other user", user)
    for name in names.values():
        if name in _PASS_ON:
            return Listener(pids, "passed on", name)
    return Listener(pids)


def _addresses(url: str) -> list[Address]:
    """The addresses of the URL's host; empty when its name isn't known."""
    name = urlsplit(url).hostname or ""
    try:
        texts = {str(one[4][0]) for one in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return [_plain(ipaddress.ip_address(each.partition("%")[0])) for each in texts]


def _plain(address: Address) -> Address:
    """The address that a client connects to: IPv4 in IPv6 is IPv4, `::` is loopback."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return _plain(address.ipv4_mapped)
    if address.is_unspecified:
        return ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return address


def _sockets(url: str) -> Iterator[tuple[str, str]]:
    """(inode, user) of each socket that listens there. Raises `OSError` without a listing."""
    if url.startswith("http+unix:"):
        yield from _unix_sockets(unquote(urlsplit(url).netloc))
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    all_of_port = [one for one in _tcp_sockets() if one[1] == port]
    for address in _addresses(url):
        fits = [(_fit(local, address), inode, uid) for local, _, inode, uid in all_of_port]
        best = min((fit for fit, *_ in fits), default=_NO_FIT)
        if best < _NO_FIT:
            yield from ((inode, _user(uid)) for fit, inode, uid in fits if fit == best)


_NO_FIT = 3


def _fit(local: Address, target: Address) -> int:
    """Rank of a listening address for a target, 0 the best: the kernel connects to the best."""
    if local == target:
        return 0
    if not local.is_unspecified:
        return _NO_FIT
    if local.version == target.version:
        return 1
    return 2 if local.version == 6 else _NO_FIT


def _tcp_sockets() -> Iterator[tuple[Address, int, str, int]]:
    """(address, port, inode, user id) of each listening TCP socket."""
    for name in ("tcp", "tcp6"):
        path = _NET / name
        if name == "tcp6" and not path.exists():
            continue  # IPv6 is switched off
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _TCP_LISTEN:
                address, _, port = fields[1].partition(":")
                yield _kernel_address(address), int(port, 16), fields[9], int(fields[7])


def _kernel_address(text: str) -> Address:
    """An address as the kernel prints it: words of 32 bits, each in the host's byte order."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    ipv4 = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return ipv4 or address


def _unix_sockets(path: str) -> Iterator[tuple[str, str]]:
    for line in (_NET / "unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) < 8 or not int(fields[3], 16) & _UNIX_LISTENS:
            continue
        with contextlib.suppress(OSError):  # abstract, or its file is gone
            if Path(fields[7]).samefile(path):
                yield fields[6], _user(Path(path).stat().st_uid)


def _holders(inodes: set[str]) -> dict[str, set[int]]:
    """The processes that hold each socket, of those whose descriptors may be read."""
    inode_by_link = {f"socket:[{inode}]": inode for inode in inodes}
    holders: dict[str, set[int]] = {}
    for pid in psutil.pids() if inode_by_link else ():
        for descriptor in _descriptors(pid):
            if inode := inode_by_link.get(descriptor):
                holders.setdefault(inode, set()).add(pid)
    return holders


def _descriptors(pid: int) -> Iterator[str]:
    """Links of a process's open files; empty when they can't be read."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):  # another user's, or it has ended
        for number in os.listdir(folder):  # noqa: PTH208  Paths take twice as long
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(f"{folder}/{number}")  # noqa: PTH115


def _name(pid: int) -> str:
    """Name of a program, without the suffix that tells its instruction set (`pasta.avx2`)."""
    try:
        return psutil.Process(pid).name().removesuffix(".avx2")
    except psutil.Error:
        return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
