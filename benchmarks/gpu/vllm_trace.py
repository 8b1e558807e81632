"""Where requests pass their time around vLLM's front end, the same for every client.

`Recorder` is a middleware for `vllm serve --middleware`: it writes down when each request came to
its API process, and when the first and the last part of its reply went. `Wire` takes the times at
which requests left the client from the kernel, by their packets on the loopback (needs root).
`figures` joins both: what was in flight by the wire, how long freed places stayed empty, how many
requests were sent at once, how long they lay before the front end, and how connections and work
were shared out among the API processes.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

FOLDER = "MLS_BENCHMARK_TRACE"
RECORDER = f"{__name__}.Recorder"
_AT_ONCE_NS = 1_000_000


class Request(NamedTuple):
    """A request in one API process. Times are CLOCK_REALTIME's, in ns."""

    process: int
    port: int  # of the client's end of its connection
    came: int
    first: int
    last: int


class Recorder:
    """ASGI middleware: a line for each POST, written at its end to a file of this process."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        path = Path(os.environ[FOLDER]) / f"{os.getpid()}.txt"
        self._file = path.open("a", buffering=1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        came, first, last = time.time_ns(), 0, 0

        async def watched(message: Any) -> None:
            nonlocal first, last
            if message["type"] == "http.response.body":
                last = time.time_ns()  # before its client can know of it
                first = first or last
            await send(message)

        await self._app(scope, receive, watched)
        self._file.write(f"{os.getpid()} {scope['client'][1]} {came} {first} {last}\n")


def read_requests(folder: Path) -> list[Request]:
    return [
        Request(*map(int, line.split()))
        for path in folder.glob("*.txt")
        for line in path.read_text().splitlines()
    ]


class Wire(threading.Thread):
    """(time, client's port) of each packet with data to the server's port, until `stop`."""

    _ETH_P_IP, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 0x0800, 26, 35, 33
    _HEADERS = 14 + 20 + 32  # of Ethernet, IP, and TCP with its timestamps

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.packets: list[tuple[int, int]] = []
        self._over = threading.Event()
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._filter(port)
        self._sock.setsockopt(socket.SOL_SOCKET, self._SO_TIMESTAMPNS, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, self._SO_RCVBUFFORCE, 1 << 26)
        self._sock.settimeout(0.1)
        self._sock.bind(("lo", self._ETH_P_IP))

    def _filter(self, port: int) -> None:
        """Let through what goes to this port with more than a packet's headers."""
        code = [
            (0x28, 0, 0, 36),  # the port it goes to
            (0x15, 0, 3, port),
            (0x28, 0, 0, 16),  # the packet's length
            (0x35, 0, 1, 120),
            (0x06, 0, 0, 128),
            (0x06, 0, 0, 0),
        ]
        self._code = b"".join(struct.pack("HBBI", *each) for each in code)
        buffer = np.frombuffer(self._code, dtype=np.uint8)
        program = struct.pack("HP", len(code), buffer.ctypes.data)
        self._sock.setsockopt(socket.SOL_SOCKET, self._SO_ATTACH_FILTER, program)

    def run(self) -> None:
        while not self._over.is_set():
            try:
                data, ancillary, _, _ = self._sock.recvmsg(128, 64)
            except TimeoutError:
                continue
            if data[self._HEADERS : self._HEADERS + 4] != b"GET ":
                seconds, ns = struct.unpack("qq", ancillary[0][2][:16])
                self.packets.append((seconds * 10**9 + ns, int.from_bytes(data[34:36], "big")))

    def stop(self) -> list[tuple[int, int]]:
        self._over.set()
        self.join()
        self._sock.close()
        return self.packets


def sent_ns(requests: list[Request], packets: list[tuple[int, int]]) -> list[int]:
    """The time of each request's first packet; of one without, that at which it came."""
    by_port = defaultdict(list)
    for at, port in sorted(packets):
        by_port[port].append(at)
    sent: dict[Request, int] = {}
    before: dict[int, int] = defaultdict(int)
    for request in sorted(requests, key=lambda each: each.came):
        times = by_port[request.port]
        index = bisect_right(times, before[request.port])
        found = index < len(times) and times[index] <= request.came
        sent[request] = times[index] if found else request.came
        before[request.port] = request.first  # all of that request had come
    return [sent[request] for request in requests]


def figures(
    requests: list[Request], packets: list[tuple[int, int]], inflight: int, count: int
) -> dict[str, Any]:
    """Of the last `count` requests that were sent: those of the load. Times in ms."""
    pairs = sorted(zip(sent_ns(requests, packets), requests, strict=True))[-count:]
    sent = np.array([pair[0] for pair in pairs])
    load = [pair[1] for pair in pairs]
    came, first, last = (np.array([getattr(r, n) for r in load]) for n in ("came", "first", "last"))
    begin, full, all_sent, end = sent[0], sent[inflight - 1], sent[-1], last.max()

    def held(since: int, until: int) -> float:
        inside = np.clip(last, since, until) - np.clip(sent, since, until)
        return float(inside.sum() / (until - since))

    # the k-th place that is freed is filled by the k-th request after the first ones
    empty = (sent[inflight:] - np.sort(last)[: count - inflight]) / 1e6
    at_once = np.searchsorted(sent, sent + _AT_ONCE_NS) - np.searchsorted(sent, sent)
    lay = (came - sent) / 1e6
    later = slice(inflight, None)
    work = Counter(r.process for r in load)
    ports = {process: len({r.port for r in load if r.process == process}) for process in work}
    decode = {process: [(r.last - r.first) / 1e6 for r in load if r.process == process]
              for process in work}  # fmt: skip
    order = sorted(work, key=lambda process: -work[process])
    return {
        "held": held(begin, end),
        "held_when_full": held(full, all_sent) if all_sent > full else None,
        "ramp_ms": (full - begin) / 1e6,
        "drain_ms": (end - all_sent) / 1e6,
        "whole_ms": (end - begin) / 1e6,
        "empty_ms": _spread(empty),
        "at_once": _spread(at_once[later]),
        "before_app_ms": _spread(lay),
        "before_app_later_ms": _spread(lay[later]),
        "app_to_first_ms": _spread((first - came) / 1e6),
        "app_to_first_later_ms": _spread(((first - came) / 1e6)[later]),
        "sent_to_first_ms": float((first - sent).mean() / 1e6),
        "requests_of_processes": [work[process] for process in order],
        "connections_of_processes": [ports[process] for process in order],
        "decode_ms_of_processes": [float(np.mean(decode[process])) for process in order],
        "unseen": int((lay == 0).sum()),
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    points = np.percentile(values, [50, 90, 99])
    names = ("mean", "p50", "p90", "p99")
    return dict(zip(names, (float(v) for v in (values.mean(), *points)), strict=True))


class Trace:
    """The trace of one client's run, from now on."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._begin = time.time_ns()
        self._wire = Wire(urlsplit(url).port or 80)
        self._wire.start()

    def stop(self, inflight: int, count: int, raw: Path) -> dict[str, Any]:
        """Its `figures`. raw: file for what they were made of."""
        packets = self._wire.stop()
        requests = [each for each in read_requests(self._folder) if each.came >= self._begin]
        sent = sent_ns(requests, packets)
        np.savez_compressed(raw, requests=np.array(requests), sent=np.array(sent))
        if len(requests) < count:
            return {"requests": len(requests)}  # the client failed
        return figures(requests, packets, inflight, count)
