"""Writes trace.csv beside this file: 40 requests in about 40 s, a quiet and a busy half.

    python config/sweeps/make_trace.py

Arrivals are Poisson, prompts lognormal (median 60 tokens), replies lognormal (median 12), all from
a fixed seed, so that the file is the same whoever makes it.
"""

import csv
import random
from pathlib import Path

RATES = (0.7, 1.5)  # requests per second
REQUESTS = (14, 26)

source = random.Random(4)
at = 0.0
with Path(__file__).with_name("trace.csv").open("w", newline="") as stream:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["time", "prompt_tokens", "output_tokens"])
    for rate, count in zip(RATES, REQUESTS, strict=True):
        for _ in range(count):
            at += source.expovariate(rate)
            prompt = min(max(round(source.lognormvariate(4.1, 0.5)), 40), 300)
            output = min(max(round(source.lognormvariate(2.5, 0.5)), 2), 48)
            rows.writerow([f"{at:.3f}", prompt, output])
