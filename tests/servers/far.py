"""The honest server behind a relay that delays all data: `far.py ADDRESS DELAY_MS`.

The relay holds each piece of data for DELAY_MS, in both directions. It records when each request
arrived (the kernel's receive timestamp) and when it sent on each token. It prints its port, then
the id of each request at its arrival. It serves until its standard input is closed. Then it prints
its records as one line of JSON: request id → fields of `RelayRecord`.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
import selectors
import socket
import sys
import threading
import time
from dataclasses import dataclass, field

from tests.servers.honest import HonestServer

from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.transport.timestamps import ANCILLARY_BYTES, WallClock, arrival_ns, enable

_ID = re.compile(rb"x-request-id: (\S+)", re.IGNORECASE)
_TOKEN = re.compile(rb't(\d+) "')
_END = b"0\r\n\r\n"
_SIZE = 1 << 16


@dataclass
class RelayRecord:
    """Moments of one request, in ns of the relay's `CLOCK_MONOTONIC`."""

    came_ns: int
    token_ns: list[int] = field(default_factory=list)
    end_ns: int = 0


class Relay:
    """Passes bytes on between its clients and a server, each piece `delay_ns` after its arrival."""

    def __init__(self, address: str, target: tuple[str, int], delay_ns: int) -> None:
        self._target = target
        self._delay_ns = delay_ns
        self._listener = socket.create_server((address, 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._queue: list[tuple[int, int, socket.socket, socket.socket, bytes]] = []
        self._order = itertools.count()
        self._request_ids: dict[socket.socket, str] = {}
        self._wall = WallClock()
        self.records: dict[str, RelayRecord] = {}

    def run(self, over: threading.Event) -> None:
        while not over.is_set():
            pause_s = 0.02
            if self._queue:
                due_s = (self._queue[0][0] - time.monotonic_ns()) / NS_PER_S
                pause_s = max(0.0, min(pause_s, due_s))
            for key, _ in self._selector.select(pause_s):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.fileobj, key.data)
            self._wall.refresh(time.monotonic_ns())
            while self._queue and self._queue[0][0] <= time.monotonic_ns():
                self._pass_on(*heapq.heappop(self._queue)[2:])

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._target)
        for sock, other in ((near, far), (far, near)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            enable(sock)
            self._selector.register(sock, selectors.EVENT_READ, other)

    def _read(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data, ancillary, _, _ = source.recvmsg(_SIZE, ANCILLARY_BYTES)
        except OSError:  # the peer was killed
            data, ancillary = b"", []
        receipt_ns = time.monotonic_ns()
        if ancillary and data:
            receipt_ns = arrival_ns(ancillary[0][2], self._wall.offset_ns)
        match = _ID.search(data)
        if match:
            self._request_ids[source] = match[1].decode()
            self.records[self._request_ids[source]] = RelayRecord(receipt_ns)
            print(self._request_ids[source], flush=True)
        if not data:
            self._selector.unregister(source)
        due_ns = receipt_ns + self._delay_ns
        heapq.heappush(self._queue, (due_ns, next(self._order), source, target, data))

    def _pass_on(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
        send_ns = time.monotonic_ns()
        try:
            if data:
                target.sendall(data)
            else:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the peer has hung up
        record = self.records.get(self._request_ids.get(target, ""))
        if record:
            record.token_ns += [send_ns] * len(_TOKEN.findall(data))
            if data.endswith(_END):
                record.end_ns = send_ns


def main(address: str, delay_ms: str) -> None:
    over = threading.Event()
    with HonestServer() as server:
        relay = Relay(address, ("127.0.0.1", server.server_address[1]), int(delay_ms) * NS_PER_MS)
        relaying = threading.Thread(target=relay.run, args=(over,))
        relaying.start()
        print(relay.port, flush=True)
        sys.stdin.read()
        over.set()
        relaying.join()
    print(json.dumps({name: vars(record) for name, record in relay.records.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
