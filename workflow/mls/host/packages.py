"""Installed packages: their versions and hashes, and checks against the project's requirements."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mls.core.errors import UserError
from mls.core.libraries import advice, lacking

_IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        first, *more = f"{type(error).__name__}: {error}".splitlines()
        # numpy, for one, says further below which library is missing
        more = [line.strip() for line in more if "cannot open shared object file" in line]
        print(name, " ".join([first, *more]), sep="\\t")
"""


@dataclass(frozen=True)
class Pin:
    """One line of a hash-pinned lock."""

    version: str
    hashes: tuple[str, ...]


def read_lock(path: Path) -> dict[str, Pin]:
    """Canonical package name → its pin, from a requirements file with `==` pins and `--hash`es.

    Lines for other platforms or Python versions are left out. Raises `UserError` when the file
    can't be read or a line is not a pin.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Lock {path} can't be read: {error.strerror}.") from None
    pins: dict[str, Pin] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line or line.startswith("-"):
            continue
        try:
            requirement = Requirement(re.split(r"\s--", line)[0])
        except InvalidRequirement as error:
            raise UserError(f"Lock {path}: {line[:60]!r} is not a pin ({error}).") from None
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = next((s.version for s in requirement.specifier if s.operator == "=="), None)
        if version is None:
            raise UserError(f"Lock {path}: {requirement.name} is not pinned with '=='.")
        hashes = tuple(re.findall(r"--hash=(\w+:[0-9a-f]+)", line))
        pins[canonicalize_name(requirement.name)] = Pin(version, hashes)
    return pins


def installed(locks: Iterable[Path] = ()) -> dict[str, dict[str, Any]]:
    """Name → `{version, hashes, hashes_of}` of every installed package, sorted by name.

    The hashes are those of the lock when it pins this version (`hashes_of: lock`). Else there is
    one, of the package's RECORD file (`RECORD`), which lists the hashes of all files. Without that
    file there is none, and `hashes_of` is null.
    """
    pins: dict[str, Pin] = {}
    for lock in locks:
        pins |= read_lock(lock)
    entries: dict[str, dict[str, Any]] = {}
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if name in entries:  # the first on the path is the one that is imported
            continue
        pin = pins.get(name)
        if pin and pin.version == distribution.version:
            hashes, source = list(pin.hashes), "lock"
        else:
            record = distribution.read_text("RECORD")
            hashes = [f"sha256:{hashlib.sha256(record.encode()).hexdigest()}"] if record else []
            source = "RECORD" if record else ""
        entries[name] = {
            "version": distribution.version,
            "hashes": hashes,
            "hashes_of": source or None,
        }
    return dict(sorted(entries.items()))


def check_requirements(
    pyproject: Path, extras: Iterable[str] = (), manager: str = "current"
) -> list[dict[str, Any]]:
    """Each requirement of the project: `{requirement, installed, satisfied}`.

    extras: the optional dependencies to check as well. manager: what built the environment, for
    the advice. A version out of range is recorded and no error, as a cluster has its own versions.
    Raises `UserError` naming all packages that are missing.
    """
    try:
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UserError(f"{pyproject} can't be read as a project's metadata: {error}.") from None
    optional = project.get("optional-dependencies", {})
    lines = [*project.get("dependencies", [])]
    for extra in extras:
        lines += optional.get(extra, [])
    rows: list[dict[str, Any]] = []
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = None
        in_range = version is not None and requirement.specifier.contains(version, prereleases=True)
        rows.append({"requirement": str(requirement), "installed": version, "satisfied": in_range})
    absent = [row["requirement"] for row in rows if row["installed"] is None]
    if absent:
        raise UserError(f"The environment lacks {', '.join(absent)}; {_packages_advice(manager)}.")
    return rows


def check_imports(
    modules: Iterable[str], python: str = sys.executable, manager: str = "current"
) -> None:
    """Import the modules in a process of its own.

    Raises `UserError` naming all modules that can't be imported.
    """
    process = subprocess.run(
        [python, "-c", _IMPORT_ALL, *modules], capture_output=True, text=True, errors="replace"
    )
    if process.returncode != 0:
        raise UserError(
            f"The environment's modules can't be imported: Python ended with status "
            f"{process.returncode} ({(process.stderr.strip().splitlines() or ['no message'])[-1]})."
        )
    failures = [line.partition("\t")[::2] for line in process.stdout.splitlines() if "\t" in line]
    if failures:
        details = "; ".join(f"{name} ({why})" for name, why in failures)
        libraries = lacking(process.stdout)
        steps = [advice(libraries)] if libraries else []
        if not all(lacking(why) for _, why in failures):
            steps.append(_packages_advice(manager))
        raise UserError(
            f"Modules that can't be imported in this environment: {details}; "
            f"{', and '.join(steps)}."
        )


def _packages_advice(manager: str) -> str:
    if manager == "uv":
        return "delete .venv-run, so that the next call builds it anew"
    return "install them, or set environment.manager to uv"
