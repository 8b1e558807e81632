"""The results on a card as text: `python -m benchmarks.gpu.table FOLDER`."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.sweep import CONFIGS, ON_ALL_CARDS

RATE = "throughput.completion_tokens_per_s"
AXES = (
    "model",
    "inflight",
    "ranks",
    "fleet",
    "policy",
    "tensor_split",
    "cache_type_k",
    "cache_type_v",
    "profile",
    "cuda_post",
    "cuda_post_work",
)
METRICS = (
    ("tok/s", RATE),
    ("p95 ms", "latency_ms.p95"),
    ("TTFT p95", "ttft_ms.p95"),
    ("lag p99 ms", "client.loop_lag_ms.p99"),
    ("busiest rank", "client.busiest_rank_cpu_fraction"),
    ("GPU %", "gpu.utilization.mean"),
    ("GPU MiB", "gpu.memory_used_mib.max"),
    ("W", "gpu.power_w.mean"),
    ("J/1k tok", "gpu.energy_j_per_1000_tokens"),
    ("post p95 ms", "gpu.post.total_ms.p95"),
)


def card(folder: Path) -> list[str]:
    """The kernel beside the ceilings."""
    report = read(folder / "ceilings.json")
    if not report:
        return ["no ceilings.json"]
    top = report["ceilings"]
    lines = [
        f"{report['card']}, cupy {report['cupy']}, driver {report['driver']}",
        f"ceilings: copy {top['bytes_per_s'] / 1e9:.0f} GB/s, "
        f"FP32 FMA {top['flop_per_s'] / 1e12:.1f} TFLOP/s, "
        f"INT32 multiply-add {top['int_op_per_s'] / 1e12:.1f} Top/s",
    ]
    rows = [
        [
            f"{row['bytes']:,}",
            f"{row['work']:,}",
            f"{row['kernel_ms']:.4f}",
            f"{row['bytes_per_s'] / 1e9:.3f}",
            f"{row['int_op_per_s'] / 1e12:.2f}",
            f"{row['share_of_bandwidth']:.1%}",
            f"{row['share_of_int_ops']:.1%}",
            "equal" if row["equal"] else "WRONG",
        ]
        for row in report["kernel"]
    ]
    head = ["bytes", "work", "kernel ms", "GB/s", "Top/s", "of copy", "of INT32", "reference"]
    return [*lines, *align([head, *rows])]


def memory(folder: Path) -> list[str]:
    """The server's memory, by nvidia-smi and by telemetry."""
    report = read(folder / "memory.json")
    if not report:
        return ["no memory.json"]
    difference = report["difference"]
    return [
        f"server's GPU memory: nvidia-smi {report['nvidia_smi_mib']:.0f} MiB, telemetry "
        f"{report['telemetry_mib']:.0f} MiB"
        + (f", {difference:.2%} apart" if difference is not None else ", nothing to compare")
        + f"; card in all {report['card_used_mib']:.0f} MiB"
    ]


def sweep(folder: Path) -> list[str]:
    """All cells of one config, with 95 % intervals of rate and p95 latency."""
    try:
        with (folder / "cells.csv").open() as stream:
            cells = list(csv.DictReader(stream))
    except OSError:
        return ["no cells.csv"]
    axes = [axis for axis in AXES if axis in cells[0]]
    metrics = [m for m in METRICS if any(cell.get(m[1]) for cell in cells)]
    rows = [
        [
            *(cell[axis] for axis in axes),
            cell["verdict"] + (f" ({cell['verdict_failed']})" if cell["verdict_failed"] else ""),
            *(value(cell, metric) for _, metric in metrics),
            cell["repeats_ok"],
        ]
        for cell in cells
    ]
    return align([[*axes, "verdict", *(title for title, _ in metrics), "repeats"], *rows])


def value(cell: dict[str, str], metric: str) -> str:
    """Four digits, with the interval of the rate and of p95 latency."""
    if not cell.get(metric):
        return "-"
    text = f"{float(cell[metric]):.4g}"
    low, high = cell.get(f"{metric}.ci95_low"), cell.get(f"{metric}.ci95_high")
    if metric in (RATE, "latency_ms.p95") and low and high:
        text += f" [{float(low):.4g}, {float(high):.4g}]"
    return text


def align(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(entry.rjust(width) for entry, width in zip(row, widths, strict=True))
        for row in rows
    ]


def read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def main() -> int:
    folder = Path(sys.argv[1])
    print("\n".join(["", *card(folder), "", *memory(folder)]))
    for name in (*CONFIGS, *ON_ALL_CARDS):
        print("\n".join(["", name, *sweep(folder / name)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
