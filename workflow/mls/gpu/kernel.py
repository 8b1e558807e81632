"""The post-processing of a reply's bytes: a CUDA kernel, and the same arithmetic in NumPy.

Each byte has `LANES` lanes. A lane starts from the byte's value and position and takes
`work / LANES` steps `x ← x · MULTIPLIER + INCREMENT` (mod 2³²; the constants are those of
*Numerical Recipes*' linear congruential generator, Press et al., 3rd ed., 7.1). The checksum is
the sum of all lanes' last x (mod 2⁶⁴). All arithmetic is on integers, whose sums don't depend on
the order, so the two must agree to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 8
THREADS = 256
"""Threads of a block; `cupy_device` reduces over a block of any multiple of 32 up to 1,024."""

MULTIPLIER = 1_664_525
INCREMENT = 1_013_904_223
SPREAD = 0x9E3779B1
_MASK = 2**32 - 1

SOURCE = r"""
extern "C" __global__ void post(
    const unsigned char* data, unsigned int count, unsigned int first, unsigned int steps,
    unsigned int multiplier, unsigned int increment, unsigned long long* checksum)
{
    // multiplier and increment are arguments, so that no compiler can join steps into one
    __shared__ unsigned long long sums[32];
    unsigned long long own = 0;
    const unsigned int lanes = count * 8u, stride = gridDim.x * blockDim.x;
    for (unsigned int lane = blockIdx.x * blockDim.x + threadIdx.x; lane < lanes; lane += stride) {
        unsigned int x = ((data[lane >> 3] + 1u) * 0x9E3779B1u) ^ (first * 8u + lane);
        #pragma unroll 16
        for (unsigned int step = 0; step < steps; ++step) x = x * multiplier + increment;
        own += x;
    }
    for (int far = 16; far > 0; far >>= 1) own += __shfl_down_sync(0xffffffffu, own, far);
    if ((threadIdx.x & 31u) == 0) sums[threadIdx.x >> 5] = own;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned int warp = 1; warp < blockDim.x / 32u; ++warp) own += sums[warp];
        atomicAdd(checksum, own);
    }
}
"""


def reference(data: bytes | NDArray[np.uint8], work: int, first: int = 0) -> int:
    """The checksum that the kernel must give.

    data: the bytes. work: steps for each byte, a multiple of `LANES`. first: position of `data[0]`
    in the whole reply. Any number of steps together is one step of the form x · m + c, so the cost
    doesn't depend on `work`.
    """
    values = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    multiplier, increment = affine_power(work // LANES)
    start = np.uint32(first * LANES & _MASK)
    lane = np.arange(values.size * LANES, dtype=np.uint32) + start
    spread = (values.astype(np.uint32) + np.uint32(1)) * np.uint32(SPREAD)
    x = np.repeat(spread, LANES) ^ lane
    x = x * np.uint32(multiplier) + np.uint32(increment)
    return int(x.sum(dtype=np.uint64))


def affine_power(steps: int) -> tuple[int, int]:
    """(m, c) of the step `x ← x · m + c` (mod 2³²) that equals `steps` steps of the generator."""
    m, c = 1, 0
    factor, constant = MULTIPLIER, INCREMENT
    while steps:
        if steps & 1:
            m, c = m * factor & _MASK, (c * factor + constant) & _MASK
        factor, constant = factor * factor & _MASK, (constant * factor + constant) & _MASK
        steps >>= 1
    return m, c
