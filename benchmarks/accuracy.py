"""Errors of the generator against the truth, beside a C++ client and the `requests` transport.

`python -m benchmarks.accuracy`: server on one core, client (one worker rank) on the other.
"""

from __future__ import annotations

import argparse

from benchmarks import tables
from benchmarks.rig import Answer, check_machine
from benchmarks.runs import GENERATOR, REFERENCE, REQUESTS, measure

INFLIGHT = (1, 8, 32, 128, 256)
ITL_MS = (10.0, 2.0)
BY = ["client", "times", "inflight", "itl_ms"]
ERRORS = {
    "ttft_p50_ms": "TTFT p50",
    "ttft_p95_ms": "p95",
    "ttft_p99_ms": "p99",
    "gap_p50_ms": "gap p50",
    "gap_p95_ms": "p95",
    "gap_p99_ms": "p99",
    "latency_p99_ms": "latency p99",
}
COSTS = {
    "achieved": "achieved inflight",
    "merged_share": "merged",
    "tokens_per_s": "tokens/s",
    "cpu_us_per_token": "CPU s / M tokens",
    "cpu_ms_per_request": "CPU s / 1,000 requests",
    "client_core_share": "of its core",
    "unsure_share": "unsure",
    "server_late_p99_ms": "server late p99",
}


def main(
    inflight: tuple[int, ...], itl_ms: tuple[float, ...], repeats: int, seconds: float
) -> None:
    """Print the tables; write `accuracy.csv`, and one plot for each ITL."""
    check_machine()
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for itl in itl_ms:
            for places in inflight:
                for client in (GENERATOR, REQUESTS, REFERENCE):  # interleaved
                    figures = measure(client, Answer(itl_ms=itl), places, seconds)
                    rows.extend({"repeat": repeat, **row} for row in figures)
                tables.save(rows, "accuracy")
    frame = tables.save(rows, "accuracy")
    values = list(dict.fromkeys([*ERRORS, *COSTS]))
    summary = tables.summarise(frame, BY, values)
    summary = summary.sort_values(["itl_ms", "inflight"], ascending=[False, True], kind="stable")
    tables.show("Absolute errors, ms: client − server, paired by request", summary, BY, ERRORS)
    costs = summary[summary["times"] == "user-space"].drop(columns="times")
    tables.show("What it cost", costs, ["client", "inflight", "itl_ms"], COSTS)
    summary["line"] = summary["client"] + ", " + summary["times"] + " times"
    for itl in itl_ms:
        drawing = tables.plot_lines(
            summary[summary["itl_ms"] == itl],
            "inflight",
            "gap_p99_ms",
            "line",
            ("requests in flight", "p99 of the gap error, ms"),
            f"Error of the time between tokens, {itl:g} ms apart",
        )
        tables.save_plot(drawing, f"accuracy-gaps-itl{itl:g}")
        drawing = tables.plot_lines(
            summary[summary["itl_ms"] == itl],
            "inflight",
            "ttft_p99_ms",
            "line",
            ("requests in flight", "p99 of the TTFT error, ms"),
            f"Error of the time to first token, tokens {itl:g} ms apart",
        )
        tables.save_plot(drawing, f"accuracy-ttft-itl{itl:g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inflight", type=int, nargs="+", default=INFLIGHT)
    parser.add_argument("--itl-ms", type=float, nargs="+", default=ITL_MS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    main(tuple(options.inflight), tuple(options.itl_ms), options.repeats, options.seconds)
