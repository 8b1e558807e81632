"""Run one target under atheris, in the fuzzers' own environment.

`driver.py TARGET [libFuzzer options]`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["mls.load", "mls.server", "benchmarks.fuzz"]):
    from benchmarks.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
