"""Prompts of a trace's blocks, for tests: words of one token each."""

from __future__ import annotations

import json

from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.calibration import Calibration
from mls.load.workload.traces import read_trace
from mls.protocol.prompts import WORDS

OVERHEAD, BLOCK = 10, 16
CALIBRATION = Calibration(words=tuple(WORDS[:50]), overhead=OVERHEAD, per_word=1, exact=True)
WORKLOAD = Workload.model_validate(
    {"kind": "blocks", "prompt_tokens": "trace", "block_tokens": BLOCK}
)


def write_trace(folder, rows):
    """rows: (tokens, ids) of each request."""
    path = folder / "trace.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {"timestamp": at, "input_length": tokens, "output_length": 1, "hash_ids": ids}
            )
            + "\n"
            for at, (tokens, ids) in enumerate(rows)
        )
    )
    return read_trace(Load(kind="trace", file=str(path)), blocks=True)


def make(trace, seed=1):
    return make_prompts(Run(), WORKLOAD, seed, Materials(CALIBRATION, trace=trace))
