"""What pip and uv say when they fail, as one sentence."""

from __future__ import annotations

import re

_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.I)
_NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Max retries exceeded|dns error|"
    r"Temporary failure in name resolution|client error \(Connect\)|error sending request|"
    r"Connection refused|timed out",
    re.I,
)
_ERROR = re.compile(r"error: (.+)|.*Caused by: (.+)", re.I)


def failure(what: str, output: str, log: str) -> str:
    """Why `what` could not be installed, by the installer's output, which is in `log`."""
    if _NO_SPACE.search(output):
        return f"{what} could not be installed: no space is left; free some and run it again."
    if _NO_NETWORK.search(output):
        return (
            f"{what} could not be installed, as no package index can be reached: check the network, "
            f"or name a proxy (HTTPS_PROXY) or a mirror (PIP_INDEX_URL, UV_INDEX_URL); log: {log}"
        )
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [match[1] or match[2] for line in lines if (match := _ERROR.fullmatch(line.strip()))]
    why = (errors or lines or ["it ended without a message"])[-1].strip().rstrip(".")
    return f"{what} could not be installed ({why}); log: {log}"
