"""Shared libraries that a module lacks, and the Debian packages that have them."""

from __future__ import annotations

import re

_PACKAGES = {
    "libgcc_s.so.1": "libgcc-s1",
    "libgomp.so.1": "libgomp1",
    "libnuma.so.1": "libnuma1",
    "libopenblas.so.0": "libopenblas0",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
_LACKING = re.compile(r"(\S+\.so[\w.]*): cannot open shared object file")


def lacking(text: str) -> list[str]:
    """Names of the shared libraries that the dynamic loader, in this text, says it can't find."""
    return list(dict.fromkeys(_LACKING.findall(text)))


def advice(libraries: list[str]) -> str:
    """What to do about them: Debian's packages are named where they are known."""
    noun = "library" if len(libraries) == 1 else "libraries"
    said = f"install the system {noun} {', '.join(libraries)}"
    packages = [_PACKAGES[name] for name in libraries if name in _PACKAGES]
    if not packages:
        return said
    return f"{said} (Debian and Ubuntu: sudo apt-get install {' '.join(packages)})"
