"""A managed engine's version and devices, by its own word."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from mls.config.sections.server import Server
from mls.core.digest import file_sha256
from mls.server.engine.placement import ANYWHERE, Place

VARIABLE = "MLS_ENGINE"
"""Environment variable that passes the facts to a run, as a JSON list with one item an engine."""

PROCESS_VARIABLE = "MLS_PROCESS"
"""Environment variable that tells a run of the process that it shares with others, as JSON.

`{pids, ready_utc, run}`: when it was ready, and the number of this run in it, from 1 on."""

_HEAD = 256 * 1024
_ANSWER_TIMEOUT_S = 30
_DEVICE = re.compile(r"\bDevice (\d+): (.+?), compute capability ([\d.]+)")
_USING = re.compile(r"(?<!already )\busing device (\S+) \((.+?)\)")
_DEVICE_LINE = re.compile(r"^  (\S+: .+?) \(\d+ MiB", re.M)
_LAYERS = re.compile(r"\boffloaded (\d+/\d+) layers to GPU")


def engine_facts(
    server: Server, argv: list[str], log: Path, profile: str | None, place: Place = ANYWHERE
) -> dict[str, Any]:
    """`{engine, command, binary, sha256, version, devices, offloaded_layers, profile, cpus, card}`
    of a healthy engine; null is unknown. Never raises.

    Of a server of any kind (`engine: command`) the version is what it says itself, see
    `with_version`, and devices and layers are unknown.

    devices: those in use by the log, else those that the binary can use: a llama-server of 2026
    logs its devices at a higher verbosity only. profile: the profile's path, or why there is none;
    None without `server.profile`.
    """
    facts: dict[str, Any] = {"engine": server.engine, "command": argv, "profile": profile}
    facts |= place.record()
    facts |= {"binary": None, "sha256": None, "version": None}
    if server.engine == "command":
        return facts | {
            "binary": argv[0],
            "sha256": _sha256(argv[0]),
            "devices": None,
            "offloaded_layers": None,
        }
    facts |= devices_in_log(_head(log))
    if server.engine == "llama-server":
        binary = argv[0]
        facts |= {"binary": binary, "sha256": _sha256(binary), "version": _version(binary)}
        if server.gpu_layers and not facts["devices"]:
            facts["devices"] = _DEVICE_LINE.findall(_answer(binary, "--list-devices", place))
    return facts


def with_version(facts: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The facts with the version that the server's state has, where they have none."""
    return facts if facts["version"] else facts | {"version": state.get("build")}


def devices_in_log(log: str) -> dict[str, Any]:
    """`{devices, offloaded_layers}` by llama.cpp's log. devices is empty on a CPU."""
    present = [f"{name}, compute capability {level}" for _, name, level in _DEVICE.findall(log)]
    in_use = [f"{device}: {name}" for device, name in _USING.findall(log)]
    layers = _LAYERS.search(log)
    return {
        "devices": list(dict.fromkeys(in_use or present)),
        "offloaded_layers": layers[1] if layers else None,
    }


def _head(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            return stream.read(_HEAD).decode(errors="replace")
    except OSError:
        return ""


@cache  # The engines of a fleet have one binary
def _sha256(binary: str) -> str | None:
    try:
        return file_sha256(Path(binary))
    except OSError:
        return None


def _version(binary: str) -> str | None:
    lines = re.findall(
        r"^(?:version|built with).*", _answer(binary, "--version", ANYWHERE), flags=re.M
    )
    return "; ".join(lines) or None


@cache
def _answer(binary: str, option: str, place: Place) -> str:
    """The binary's output for an option; "" when it can't be run."""
    try:
        process = subprocess.run(
            [binary, option],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=os.environ | place.environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout + process.stderr
