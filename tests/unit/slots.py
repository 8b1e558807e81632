"""Records of a server with few slots; its knee is at their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from tests.unit.synthetic import Load, rows, to_table

TOKENS, PACE_MS, FIRST_MS = 16, 10.0, 30.0
ALONE_MS = FIRST_MS + (TOKENS - 1) * PACE_MS  # the latency while there is a slot for everyone


def slot_records(
    places: int, seed: int | Sequence[int], slots: int = 4, requests: int = 48
) -> pa.Table:
    """Records of a server whose slots serve one request each; the others wait in its queue."""
    rng = np.random.default_rng(seed)
    level = 1 + 0.01 * rng.standard_normal()
    free_slot, free_place, records = np.zeros(slots), np.zeros(places), []
    for row in rows(Load(places=places, requests=requests, tokens=TOKENS)):
        place = int(free_place.argmin())
        start = free_place[place]
        slot = int(free_slot.argmin())
        begin = max(start, free_slot[slot])
        pace = rng.lognormal(0, 0.05, TOKENS) * level
        chunks = begin + np.cumsum(np.array([FIRST_MS, *[PACE_MS] * (TOKENS - 1)]) * pace)
        free_slot[slot] = free_place[place] = chunks[-1]
        chunk_ns = (chunks * 1e6).astype(int)
        records.append(
            row
            | dict.fromkeys(("start_ns", "scheduled_ns"), int(start * 1e6))
            | dict.fromkeys(("end_ns", "last_chunk_ns"), int(chunk_ns[-1]))
            | {"first_chunk_ns": int(chunk_ns[0]), "chunk_ns": chunk_ns.tolist(), "slot": place}
            | {"server_prompt_ms": 1.0, "server_predicted_ms": 1.0, "connected_ns": None}
        )
    return to_table(records)
