"""Readers of the record files of the ground-truth server, the reference client and `mls run`.

The layouts are those of `ground_truth/records.hpp`. All `_ns` are `CLOCK_MONOTONIC` of this host.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

UNSURE_NS = 100_000
"""A `send()` that took longer was interrupted: its moment is unknown."""

_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("requests", "<i8"),
        ("rows", "<i8"),
        ("dropped", "<i8"),
        ("offset_start_ns", "<i8"),
        ("offset_end_ns", "<i8"),
    ]
)
_SERVED = np.dtype(
    [
        ("id", "S64"),
        ("arrival_ns", "<i8"),
        ("arrival_user_ns", "<i8"),
        ("service_ns", "<i8"),
        ("first_send", "<i8"),
        ("sends", "<i8"),
        ("streamed", "<i4"),
        ("kernel_time", "<i4"),
        ("finished", "<i4"),
        ("tokens", "<i4"),
    ]
)
_SEND = np.dtype(
    [
        ("planned_ns", "<i8"),
        ("before_ns", "<i8"),
        ("after_ns", "<i8"),
        ("chunks", "<i4"),
        ("deferred", "<i4"),
    ]
)
_SEEN = np.dtype(
    [
        ("job", "<i8"),
        ("slot", "<i8"),
        ("start_ns", "<i8"),
        ("end_kernel_ns", "<i8"),
        ("end_user_ns", "<i8"),
        ("first_chunk", "<i8"),
        ("chunks", "<i8"),
        ("reconnects", "<i8"),
    ]
)
_SEEN_CHUNK = np.dtype([("kernel_ns", "<i8"), ("user_ns", "<i8"), ("merged", "<i8")])


@dataclass(frozen=True)
class Truth:
    """The server's records: finished requests in the order of their ends, the sends of each."""

    ids: list[str]
    arrival_ns: Ints  # kernel's time of the request's last byte
    arrival_user_ns: Ints
    service_ns: Ints
    first_ns: Ints  # just before the first token's send()
    last_ns: Ints  # just before the last one's
    chunk_ns: list[Ints]  # of each request: just before the send() of each content-bearing chunk
    chunk_sure: list[Flags]  # of each chunk: its send() took no longer than UNSURE_NS
    planned_ns: Ints  # of every send
    before_ns: Ints
    after_ns: Ints
    deferred: int  # sends that the socket did not take at once
    unfinished: int  # requests whose client went away
    dropped: int  # requests that no longer fitted into the records
    clock_step_ns: int  # change of CLOCK_REALTIME − CLOCK_MONOTONIC while it served


@dataclass(frozen=True)
class Seen:
    """A client's records, in any order, with kernel and user-space times of chunks."""

    ids: list[str]
    start_ns: Ints
    end_ns: Ints
    end_user_ns: Ints
    chunk_ns: list[Ints]  # arrival by the kernel where the client has it
    chunk_user_ns: list[Ints]  # when the client read it
    merged: list[Flags]  # another chunk came in the same read, after this one


def read_truth(path: Path) -> Truth:
    """The server's records. Raises `ValueError` when the file is not the server's."""
    header, requests, sends = _read(path, b"MLSTRUTH", _SERVED, _SEND)
    complete = requests[requests["finished"] == 1]
    chunk_ns, chunk_sure = [], []
    for request in complete:
        rows = sends[request["first_send"] : request["first_send"] + request["sends"]]
        chunk_ns.append(np.repeat(rows["before_ns"], rows["chunks"]))
        certain = rows["after_ns"] - rows["before_ns"] <= UNSURE_NS
        chunk_sure.append(np.repeat(certain, rows["chunks"]))
    return Truth(
        ids=[i.decode() for i in complete["id"]],
        arrival_ns=complete["arrival_ns"],
        arrival_user_ns=complete["arrival_user_ns"],
        service_ns=complete["service_ns"],
        first_ns=sends["before_ns"][complete["first_send"]],
        last_ns=sends["before_ns"][complete["first_send"] + complete["sends"] - 1],
        chunk_ns=chunk_ns,
        chunk_sure=chunk_sure,
        planned_ns=sends["planned_ns"],
        before_ns=sends["before_ns"],
        after_ns=sends["after_ns"],
        deferred=int(sends["deferred"].sum()),
        unfinished=len(requests) - len(complete),
        dropped=int(header["dropped"]),
        clock_step_ns=int(header["offset_end_ns"] - header["offset_start_ns"]),
    )


def read_reference(path: Path, ids: str = "ref-") -> Seen:
    """Records of the reference client, whose request ids are `ids` and the job's number."""
    _, requests, chunks = _read(path, b"MLSSEEN1", _SEEN, _SEEN_CHUNK)
    parts = [chunks[r["first_chunk"] : r["first_chunk"] + r["chunks"]] for r in requests]
    return Seen(
        ids=[f"{ids}{job}" for job in requests["job"]],
        start_ns=requests["start_ns"],
        end_ns=requests["end_kernel_ns"],
        end_user_ns=requests["end_user_ns"],
        chunk_ns=[part["kernel_ns"] for part in parts],
        chunk_user_ns=[part["user_ns"] for part in parts],
        merged=[part["merged"] != 0 for part in parts],
    )


def read_generator(path: Path) -> Seen:
    """`requests.parquet` of `mls run`; failed requests are left out."""
    table = pq.read_table(path)
    table = table.filter(pc.is_null(table["error"]))
    columns = {
        name: table[name].combine_chunks()
        for name in ("request_id", "start_ns", "end_ns", "chunk_ns", "chunk_lag_ns", "chunk_merged")
    }
    end_ns = columns["end_ns"].to_numpy()
    chunk_ns = [np.asarray(row.values, dtype=np.int64) for row in columns["chunk_ns"]]
    lag_ns = [np.asarray(row.values, dtype=np.int64) for row in columns["chunk_lag_ns"]]
    return Seen(
        ids=columns["request_id"].to_pylist(),
        start_ns=columns["start_ns"].to_numpy(),
        end_ns=end_ns,
        # the last chunk and the reply's end come in one send of the server, so in one read
        end_user_ns=end_ns
        + np.array([lag[-1] if len(lag) else 0 for lag in lag_ns], dtype=np.int64),
        chunk_ns=chunk_ns,
        chunk_user_ns=[at + lag for at, lag in zip(chunk_ns, lag_ns, strict=True)],
        merged=[row.values.to_numpy(zero_copy_only=False) for row in columns["chunk_merged"]],
    )


def _read(
    path: Path, magic: bytes, kind: np.dtype, row: np.dtype
) -> tuple[np.void, np.ndarray, np.ndarray]:
    data = path.read_bytes()
    header = np.frombuffer(data, _HEADER, 1)[0]
    if header["magic"] != magic:
        raise ValueError(f"{path} is not a file of records ({magic.decode()}).")
    at = _HEADER.itemsize
    requests = np.frombuffer(data, kind, header["requests"], at)
    at += requests.nbytes
    return header, requests, np.frombuffer(data, row, header["rows"], at)
