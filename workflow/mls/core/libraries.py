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
_LOADER_MESSAGE = re.compile(r"(\S+\.so[\w.]*): cannot open shared object file")


def lacking(text: str) -> list[str]:
    """Names of the shared libraries that the dynamic loader reports in `text` as not found."""
    return list(dict.fromkeys(_LOADER_MESSAGE.findall(text)))


def advice(libraries: list[str]) -> str:
    """How to install the libraries, with the names of Debian's packages that are known."""
    noun = "library" if len(libraries) == 1 else "libraries"
    sentence = f"install the system {noun} {', '.join(libraries)}"
    packages = [_PACKAGES[name] for name in libraries if name in _PACKAGES]
    if not packages:
        return sentence
    return f"{sentence} (Debian and Ubuntu: sudo apt-get install {' '.join(packages)})"
