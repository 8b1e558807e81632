"""Writes a trace in the form of Mooncake's: prompts of five levels that requests share.

    python config/sweeps/make_mooncake.py                      # mooncake.jsonl, beside this file
    python config/sweeps/make_mooncake.py 1000 20 16 big.jsonl # requests, rate, block, file

Four agents send requests in any order. A prompt is a path of one to five blocks (tools, repository,
task, files, turn) and a block of its own. An agent's next prompt keeps one to five levels of its
last path and has new blocks below them: it never returns to one that it left, as agents don't. So
a cache of each agent's last prompt has all that an ideal one has, and a smaller one has less.
Arrivals are Poisson; all is from a fixed seed, so that the file is the same whoever makes it.
"""

import json
import random
import sys
from itertools import count
from pathlib import Path

AGENTS, LEVELS = 4, 5
OUTPUT = (2, 8)

requests, rate, block, file = 40, 1.25, 64, Path(__file__).with_name("mooncake.jsonl")
if words := sys.argv[1:]:
    requests, rate, block, file = int(words[0]), float(words[1]), int(words[2]), Path(words[3])
source = random.Random(7)
ids = count()
paths = [[next(ids)] for _ in range(AGENTS)]
at = 0.0
with file.open("w") as stream:
    for _ in range(requests):
        at += source.expovariate(rate)
        path = source.choice(paths)
        levels = source.randint(1, LEVELS)
        del path[source.randint(1, LEVELS) :]
        path.extend(next(ids) for _ in range(levels - len(path)))
        row = {
            "timestamp": round(1000 * at),
            "input_length": len(path) * block + source.randint(block // 4, block),
            "output_length": source.randint(*OUTPUT),
            "hash_ids": [*path, next(ids)],
        }
        stream.write(json.dumps(row) + "\n")
