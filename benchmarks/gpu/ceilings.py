"""The post-processing kernel beside the card's ceilings, all measured in one call.

`python -m benchmarks.gpu.ceilings --output FILE`: bytes/s of a copy kernel, FLOP/s of a kernel of
dependent fused multiply-adds, and integer operations/s of one of dependent multiply-adds; then
`mls.gpu.kernel`'s own by size and work, each result compared with its reference. A multiply-add
counts as two operations. Times are CUDA events', the median of several launches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mls.config.sections.run import Run
from mls.gpu.device import NoCardError, cupy
from mls.gpu.kernel import INCREMENT, LANES, MULTIPLIER, SOURCE, THREADS, reference

LAUNCHES = 15
WARM_UP = 3
COPY_BYTES = 2**30
STEPS = 4096
BLOCKS_PER_SM = 8
SIZES = (16 * 2**10, 256 * 2**10, 4 * 2**20, 64 * 2**20)
DEFAULT_WORK = Run.model_fields["cuda_post_work"].default
WORKS = (8, 64, 512, DEFAULT_WORK, 16 * DEFAULT_WORK)

CEILINGS = r"""
extern "C" __global__ void copy(const uint4* from, uint4* to, unsigned long long count) {
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    const unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (unsigned long long i = first; i < count; i += stride) to[i] = from[i];
}
// four independent chains a thread, so that latency is hidden and only the rate counts
extern "C" __global__ void fma32(float a, float b, unsigned int steps, float* out) {
    float w = threadIdx.x, x = w + 1, y = w + 2, z = w + 3;
    #pragma unroll 16
    for (unsigned int s = 0; s < steps; ++s) {
        w = fmaf(w, a, b); x = fmaf(x, a, b); y = fmaf(y, a, b); z = fmaf(z, a, b);
    }
    out[(unsigned long long)blockIdx.x * blockDim.x + threadIdx.x] = w + x + y + z;
}
extern "C" __global__ void imad32(
    unsigned int a, unsigned int b, unsigned int steps, unsigned int* out)
{
    unsigned int w = threadIdx.x, x = w + 1, y = w + 2, z = w + 3;
    #pragma unroll 16
    for (unsigned int s = 0; s < steps; ++s) {
        w = w * a + b; x = x * a + b; y = y * a + b; z = z * a + b;
    }
    out[(unsigned long long)blockIdx.x * blockDim.x + threadIdx.x] = w + x + y + z;
}
"""


def seconds(cp: Any, launch: Callable[[], None]) -> float:
    """Median time of one launch."""
    times = []
    for i in range(WARM_UP + LAUNCHES):
        begin, end = cp.cuda.Event(), cp.cuda.Event()
        begin.record()
        launch()
        end.record()
        end.synchronize()
        if i >= WARM_UP:
            times.append(cp.cuda.get_elapsed_time(begin, end) / 1e3)
    return statistics.median(times)


def ceilings(cp: Any, multiprocessors: int) -> dict[str, float]:
    """`{bytes_per_s, flop_per_s, int_op_per_s}`; bytes are those read and those written."""
    module = cp.RawModule(code=CEILINGS)
    source = cp.zeros(COPY_BYTES, cp.uint8)
    target = cp.empty_like(source)
    grid = (multiprocessors * BLOCKS_PER_SM,)
    copy = module.get_function("copy")
    words = np.uint64(COPY_BYTES // 16)
    rates = {
        "bytes_per_s": 2
        * COPY_BYTES
        / seconds(cp, lambda: copy((multiprocessors * 64,), (THREADS,), (source, target, words)))
    }
    threads = multiprocessors * BLOCKS_PER_SM * THREADS
    operations = 2 * 4 * STEPS * threads
    for name, kind, arguments in (
        ("flop_per_s", "fma32", (np.float32(0.999), np.float32(0.5), np.uint32(STEPS))),
        ("int_op_per_s", "imad32", (np.uint32(MULTIPLIER), np.uint32(INCREMENT), np.uint32(STEPS))),
    ):
        kernel, out = module.get_function(kind), cp.empty(threads, cp.uint32)

        def launch(kernel: Any = kernel, arguments: Any = arguments, out: Any = out) -> None:
            kernel(grid, (THREADS,), (*arguments, out))

        rates[name] = operations / seconds(cp, launch)
    return rates


def kernel_rate(cp: Any, multiprocessors: int, size: int, work: int) -> dict[str, Any]:
    """One row: `{bytes, work, kernel_ms, bytes_per_s, int_op_per_s, equal}`."""
    data = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    device, checksum = cp.asarray(data), cp.zeros(1, cp.uint64)
    kernel = cp.RawKernel(SOURCE, "post")
    blocks = min(-(-size * LANES // THREADS), multiprocessors * BLOCKS_PER_SM)

    def launch() -> None:
        kernel((blocks,), (THREADS,), (
            device, np.uint32(size), np.uint32(0), np.uint32(work // LANES),
            np.uint32(MULTIPLIER), np.uint32(INCREMENT), checksum,
        ))  # fmt: skip

    launch()
    equal = int(checksum.get()[0]) == reference(data, work)
    launch_s = seconds(cp, launch)
    return {
        "bytes": size,
        "work": work,
        "kernel_ms": launch_s * 1e3,
        "bytes_per_s": size / launch_s,
        "int_op_per_s": 2 * work * size / launch_s,
        "equal": equal,
    }


def main() -> int:
    """Exit status 1 when a result differs from the reference's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    try:
        cp = cupy()
    except NoCardError as why:
        print(f"No card to measure: {why}.", file=sys.stderr)
        return 1
    properties = cp.cuda.runtime.getDeviceProperties(0)
    multiprocessors = properties["multiProcessorCount"]
    top = ceilings(cp, multiprocessors)
    rows = [
        kernel_rate(cp, multiprocessors, size, work)
        for size, work in [
            *((max(SIZES), work) for work in WORKS),
            *((size, DEFAULT_WORK) for size in SIZES if size != max(SIZES)),
        ]
    ]
    for row in rows:
        row["share_of_bandwidth"] = row["bytes_per_s"] / top["bytes_per_s"]
        row["share_of_int_ops"] = row["int_op_per_s"] / top["int_op_per_s"]
        row["share_of_flops"] = row["int_op_per_s"] / top["flop_per_s"]
    report = {
        "card": properties["name"].decode(),
        "cupy": cp.__version__,
        "driver": cp.cuda.runtime.driverGetVersion(),
        "runtime": cp.cuda.runtime.runtimeGetVersion(),
        "default_work": DEFAULT_WORK,
        "ceilings": top,
        "kernel": rows,
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
