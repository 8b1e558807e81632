"""Installed packages: versions, hashes, and whether they are what the project asks for."""

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

    Lines for other platforms or Python versions are left out. Raises `UserError`.
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

    hashes: those of the lock when it pins this very version (`hashes_of: lock`), else that of
    the package's RECORD file, which lists its files with theirs (`RECORD`), else none (null).
    """
    pins: dict[str, Pin] = {}
    for lock in locks:
        pins |= read_lock(lock)
    found: dict[str, dict[str, Any]] = {}
    for distribution in metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if name in found:  # the first on the path is the one that is imported
            continue
        pin = pins.get(name)
        if pin and pin.version == distribution.version:
            hashes, source = list(pin.hashes), "lock"
        else:
            record = distribution.read_text("RECORD")
            hashes = [f"sha256:{hashlib.sha256(record.encode()).hexdigest()}"] if record else []
            source = "RECORD" if record else ""
        found[name] = {
            "version": distribution.version,
            "hashes": hashes,
            "hashes_of": source or None,
        }
    return dict(sorted(found.items()))


def check_requirements(
    pyproject: Path, extras: Iterable[str] = (), manager: str = "current"
) -> list[dict[str, Any]]:
    """Each requirement of the project: `{requirement, installed, satisfied}`.

    extras: names of its optional dependencies to check as well. manager: what built the
    environment, for the advice. A version out of range is only
    recorded: on a cluster one takes what there is. Raises `UserError` naming all that are missing.
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
        satisfied = version is not None and requirement.specifier.contains(
            version, prereleases=True
        )
        rows.append({"requirement": str(requirement), "installed": version, "satisfied": satisfied})
    missing = [row["requirement"] for row in rows if row["installed"] is None]
    if missing:
        raise UserError(f"The environment lacks {', '.join(missing)}; {_packages_advice(manager)}.")
    return rows


def check_imports(
    modules: Iterable[str], python: str = sys.executable, manager: str = "current"
) -> None:
    """Import the modules in a process of its own. Raises `UserError` naming all that can't be."""
    done = subprocess.run(
        [python, "-c", _IMPORT_ALL, *modules], capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise UserError(
            f"The environment's modules can't be imported: Python ended with status "
            f"{done.returncode} ({(done.stderr.strip().splitlines() or ['no message'])[-1]})."
        )
    failed = [line.partition("\t")[::2] for line in done.stdout.splitlines() if "\t" in line]
    if failed:
        said = "; ".join(f"{name} ({why})" for name, why in failed)
        libraries = lacking(done.stdout)
        todo = [advice(libraries)] if libraries else []
        if not all(lacking(why) for _, why in failed):
            todo.append(_packages_advice(manager))
        raise UserError(
            f"Modules that can't be imported in this environment: {said}; {', and '.join(todo)}."
        )


def _packages_advice(manager: str) -> str:
    if manager == "uv":
        return "delete .venv-run, so that the next call builds it anew"
    return "install them, or set environment.manager to uv"
