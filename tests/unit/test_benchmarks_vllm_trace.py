"""What a trace says of requests whose times are known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from benchmarks.gpu.vllm_trace import FOLDER, Recorder, Request, figures, read_requests, sent_ns

MS = 10**6


def test_request_left_with_its_first_packet_after_the_one_before() -> None:
    requests = [Request(1, 70, 12, 20, 30), Request(1, 70, 45, 50, 60), Request(2, 71, 14, 20, 30)]
    # headers and body by themselves; one reply's last part was noted after the next request left
    packets = [(10, 70), (13, 70), (29, 70), (46, 70), (11, 72)]

    assert sent_ns(requests, packets) == [10, 29, 14]


def test_places_are_empty_from_the_end_of_a_reply_to_the_next_request() -> None:
    # two places of 10 ms each, filled again after 2 ms; requests lie 1 ms before they are taken
    starts = [10, 10, 22, 22]
    requests = [
        Request(process, port, (at + 1) * MS, (at + 3) * MS, (at + 10) * MS)
        for at, process, port in zip(starts, [1, 2, 1, 2], [70, 71, 70, 71], strict=True)
    ]
    packets = [(at * MS, each.port) for at, each in zip(starts, requests, strict=True)]

    row = figures(requests, packets, inflight=2, count=4)

    assert row["empty_ms"]["mean"] == pytest.approx(2)
    assert row["held"] == pytest.approx(2 * 20 / 22)
    assert row["held_when_full"] == pytest.approx(2 * 10 / 12)
    assert row["at_once"]["mean"] == 2
    assert row["before_app_ms"]["p50"] == pytest.approx(1)
    assert row["sent_to_first_ms"] == pytest.approx(3)
    assert row["drain_ms"] == pytest.approx(10)
    assert row["connections_of_processes"] == [1, 1]
    assert row["decode_ms_of_processes"] == [7, 7]
    assert row["unseen"] == 0


def test_requests_before_the_load_are_left_out() -> None:
    trial = Request(1, 69, 1, 2, 3)
    load = [Request(1, 70, 10 * MS, 11 * MS, 20 * MS), Request(1, 70, 21 * MS, 22 * MS, 30 * MS)]

    assert figures([trial, *load], [], inflight=1, count=2)["requests_of_processes"] == [2]


def test_recorder_notes_when_a_request_came_and_its_reply_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body", "body": b"a"})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        passed.append(message["type"])

    recorder = Recorder(app)
    for method in ("GET", "POST"):
        scope = {"type": "http", "method": method, "client": ("127.0.0.1", 4321)}
        asyncio.run(recorder(scope, None, send))

    assert len(passed) == 6
    (request,) = read_requests(tmp_path)
    assert request.port == 4321
    assert request.came <= request.first <= request.last
