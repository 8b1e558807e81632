"""Records of a server with few slots, whose knee is at their number."""

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
    """Each slot serves one request at a time, the others wait in the server's queue."""
    rng = np.random.default_rng(seed)
    level = 1 + 0.01 * rng.standard_normal()
    free_slot, free_place, made = np.zeros(slots), np.zeros(places), []
    for row in rows(Load(places=places, requests=requests, tokens=TOKENS)):
        place = int(free_place.argmin())
        start = free_place[place]
        slot = int(free_slot.argmin())
        begin = max(start, free_slot[slot])
        pace = rng.lognormal(0, 0.05, TOKENS) * level
        chunks = begin + np.cumsum(np.array([FIRST_MS, *[PACE_MS] * (TOKENS - 1)]) * pace)
        free_slot[slot] = free_place[place] = chunks[-1]
        at = (chunks * 1e6).astype(int)
        made.append(
            row
            | dict.fromkeys(("start_ns", "scheduled_ns"), int(start * 1e6))
            | dict.fromkeys(("end_ns", "last_chunk_ns"), int(at[-1]))
            | {"first_chunk_ns": int(at[0]), "chunk_ns": at.tolist(), "slot": place}
            | {"server_prompt_ms": 1.0, "server_predicted_ms": 1.0, "connected_ns": None}
        )
    return to_table(made)
