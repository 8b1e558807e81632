"""`mls environment`: checks and describes the run environment → `environment.json`."""

from __future__ import annotations

import platform
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from mls.config.cells import cells
from mls.config.config import Config, Mpi
from mls.config.settings import settings
from mls.core.digest import PACKAGE, data_sha256, sources_sha256
from mls.gpu import inventory as gpu
from mls.host import git, machine, packages
from mls.host.launch import launchers, programs

SCHEMA_VERSION = 1
ROOT = PACKAGE.parent.parent
"""The checkout, when the package is used from one."""

ENGINE = "xllamacpp"
RUN_TIME_MODULES = (
    "gguf",
    "httptools",
    "jinja2",
    "jsonschema",
    "matplotlib",
    "mpi4py",
    "numpy",
    "orjson",
    "packaging",
    "prometheus_client",
    "psutil",
    "pyarrow",
    "pydantic",
    "pynvml",
    "requests",
    "requests_unixsocket",
    "rich",
    "scipy",
    "typer",
    "yaml",
)


def describe(config: Config, root: Path = ROOT) -> dict[str, Any]:
    """Check the environment that this process runs in, and describe it.

    root: folder with pyproject.toml and requirements/*.txt; a missing file skips its check.
    `digest` covers what can change a result: packages, Python, MPI, engine and hardware. Raises
    `UserError`.
    """
    manager, extras = config.environment.manager, config.environment.extras
    checks = check(config.mpi, manager, engine=needs_engine(config))
    pyproject = root / "pyproject.toml"
    requirements = (
        packages.check_requirements(pyproject, extras, manager) if pyproject.exists() else None
    )
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "manager": manager,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "packages": packages.installed(_locks(config, root)),
        "requirements": requirements,
        "mpi": {"library": programs.library_version(), "mpi4py": metadata.version("mpi4py")},
        "engine": engine_version(),
        "host": machine.describe(),
        "gpu": gpu.describe(),
        "git": git.describe(root),
        "sources_sha256": sources_sha256(),
        "checked": checks,
    }
    return facts | {"digest": digest(facts), "warnings": _warnings(facts)}


def check(mpi: Mpi, manager: str, *, engine: bool = True) -> dict[str, Any]:
    """Import the modules (engine: its own, too), and run an MPI hello of 2 ranks or one a host.

    Returns `{imports, mpi_hello}`. Raises `UserError` for the first check that fails.
    """
    modules = [*RUN_TIME_MODULES, *([ENGINE] if engine else [])]
    packages.check_imports(modules, manager=manager)
    ranks = max(programs.HELLO_RANKS, len(launchers.hosts(mpi)))
    return {"imports": modules, "mpi_hello": programs.hello(launchers.command(mpi), ranks=ranks)}


def engine_version() -> dict[str, Any]:
    """`{name, version, build, reason}` of the embedded engine. Without it, version is null."""
    try:
        module = import_module(ENGINE)
    except ImportError as error:
        return {"name": ENGINE, "version": None, "build": None, "reason": str(error)}
    return {
        "name": ENGINE,
        "version": module.__version__,
        "build": getattr(module, "BUILD_INFO", None),
        "reason": None,
    }


def needs_engine(config: Config) -> bool:
    """Whether any cell of the config runs the embedded engine."""
    servers = [settings(config, cell, 1).server for cell in cells(config)]
    return any(not server.addresses and server.engine == ENGINE for server in servers)


def digest(facts: dict[str, Any]) -> str:
    """SHA-256 of the facts that can change a result. Paths, git and the checks are not among them.

    Hashes of RECORD files are left out, as installers write different ones for the same package.
    """
    host = facts["host"]
    return data_sha256(
        {
            "packages": {
                name: [
                    package["version"],
                    package["hashes"] if package["hashes_of"] == "lock" else None,
                ]
                for name, package in facts["packages"].items()
            },
            "python": [facts["python"]["implementation"], facts["python"]["version"]],
            "mpi": facts["mpi"]["library"],
            "engine": [facts["engine"]["version"], facts["engine"]["build"]],
            "cpu": [host["cpu"], host["cores"], host["machine"], round(host["memory_gib"])],
            "gpu": [facts["gpu"]["devices"], facts["gpu"]["driver"]],
        }
    )


def _locks(config: Config, root: Path) -> list[Path]:
    """The locks that the environment was built from. Only uv's environment has any."""
    if config.environment.manager != "uv":
        return []
    names = ["run", *config.environment.extras]
    return [lock for name in names if (lock := root / "requirements" / f"{name}.txt").exists()]


def _warnings(facts: dict[str, Any]) -> list[str]:
    governor = facts["host"]["governor"]
    return [
        *(
            f"{row['requirement']} is asked for, {row['installed']} is installed."
            for row in facts["requirements"] or []
            if not row["satisfied"]
        ),
        *(
            [f"The CPU governor is {governor}, not performance: clocks follow the load."]
            if governor and governor != "performance"
            else []
        ),
    ]
