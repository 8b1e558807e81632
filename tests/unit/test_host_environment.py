"""What `mls environment` records, and its errors."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mls.config.parse import parse_config
from mls.core.digest import PACKAGE
from mls.core.errors import UserError
from mls.host import environment, git, machine, packages

LOCK = """# made by a tool
numpy==2.2.0 \\
    --hash=sha256:aa11 \\
    --hash=sha256:bb22
    # via mls
colorama==0.4 ; sys_platform == 'win32' \\
    --hash=sha256:cc33
Typing_Extensions==4.1
--index-strategy first-index
"""


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return environment.describe(parse_config({"models": {"m": {"path": "m.gguf"}}}))


def test_lock_gives_versions_hashes_and_canonical_names(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    assert packages.read_lock(lock) == {
        "numpy": packages.Pin("2.2.0", ("sha256:aa11", "sha256:bb22")),
        "typing-extensions": packages.Pin("4.1", ()),
    }


@pytest.mark.parametrize(
    ("text", "words"), [("numpy>=2\n", "not pinned"), ("???\n", "is not a pin")]
)
def test_what_is_no_lock(tmp_path: Path, text: str, words: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(text)
    with pytest.raises(UserError, match=words):
        packages.read_lock(lock)


def test_hashes_come_from_the_lock_only_for_the_version_it_pins(tmp_path: Path) -> None:
    version = packages.installed()["numpy"]["version"]
    lock = tmp_path / "lock.txt"
    lock.write_text(f"numpy=={version} --hash=sha256:aa11\npsutil==0.0.1 --hash=sha256:bb22\n")
    versions = packages.installed([lock])
    assert versions["numpy"] == {"version": version, "hashes": ["sha256:aa11"], "hashes_of": "lock"}
    assert versions["psutil"]["hashes_of"] == "RECORD"
    assert versions["psutil"]["hashes"] != ["sha256:bb22"]


def test_missing_requirements_are_all_named(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    names = '["numpy>=1", "no-such-thing>=2", "nor-this"]'
    project.write_text(f"[project]\ndependencies = {names}\n")
    with pytest.raises(UserError, match="no-such-thing>=2, nor-this"):
        packages.check_requirements(project)


def test_old_versions_are_recorded(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["numpy>=999", "colorama; sys_platform == \'win32\'"]\n'
    )
    (row,) = packages.check_requirements(project)
    assert row["satisfied"] is False


def test_modules_that_cannot_be_imported_are_all_named() -> None:
    with pytest.raises(UserError, match=r"no_such_module \(ModuleNotFoundError.*nor_this"):
        packages.check_imports(["json", "no_such_module", "nor_this"])


@pytest.fixture
def module_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules, first on the path, that lack shared libraries."""
    loads = "import ctypes; ctypes.CDLL('libno-such-thing.so.1')"
    (tmp_path / "loads.py").write_text(loads)
    message = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({message!r})")
    wordy = f"Please read this.\n\nOriginal error was: {message}"
    (tmp_path / "wordy.py").write_text(f"raise ImportError({wordy!r})")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{PACKAGE.parent}")
    return tmp_path


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (["loads"], "install the system library libno-such-thing.so.1."),
        (["xllamacpp"], "libgomp.so.1 (Debian and Ubuntu: sudo apt-get install libgomp1)."),
        (["wordy"], "install the system library libgomp.so.1 ("),
        (["nowhere", "xllamacpp"], "libgomp1), and delete .venv-run, so that"),
        (["nowhere"], "; delete .venv-run, so that"),
    ],
)
def test_a_module_that_lacks_a_shared_library(
    module_folder: Path, modules: list, words: str
) -> None:
    with pytest.raises(UserError) as error:
        packages.check_imports(modules, manager="uv")
    assert words in str(error.value)
    assert "environment.manager" not in str(error.value)  # the manager is uv already


def test_the_engines_process_says_which_library_it_lacks(module_folder: Path) -> None:
    command = [sys.executable, "-m", "mls.server.engine.xllamacpp"]
    process = subprocess.run(command, input="{}", capture_output=True, text=True)
    assert process.returncode == os.EX_USAGE
    assert "sudo apt-get install libgomp1" in process.stderr
    assert "Traceback" not in process.stderr and "install it" not in process.stderr


def test_run_time_modules_are_those_of_the_project() -> None:
    import tomllib
    from importlib.metadata import packages_distributions

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    text = (environment.ROOT / "pyproject.toml").read_text()
    dependencies = {
        canonicalize_name(Requirement(line).name)
        for line in tomllib.loads(text)["project"]["dependencies"]
    }
    owners = packages_distributions()
    distributions = {
        canonicalize_name(owners[module][0]) for module in environment.RUN_TIME_MODULES
    }
    assert distributions == dependencies


def test_everything_is_there_and_is_json(description: dict[str, Any]) -> None:
    assert json.loads(json.dumps(description)) == description
    assert description["mpi"]["library"]
    assert description["engine"]["version"]
    assert description["host"]["cores"]["logical"] >= description["host"]["cores"]["usable"] >= 1
    assert description["checked"]["mpi_hello"]["ranks"] == 2
    assert (description["gpu"]["devices"] is None) == (description["gpu"]["reason"] is not None)
    assert set(description["packages"]) >= {"numpy", "mpi4py", "xllamacpp"}


@pytest.mark.parametrize(
    ("path", "value", "changes"),
    [
        (("packages", "numpy", "version"), "0.0", True),
        (("python", "version"), "2.7", True),
        (("mpi", "library"), "Open MPI v9", True),
        (("engine", "version"), "1", True),
        (("host", "cpu"), "6502", True),
        (("gpu", "devices"), [{"name": "another"}], True),
        (("python", "executable"), "/elsewhere", False),
        (("git", "commit"), "abc", False),
        (("host", "name"), "node7", False),
    ],
)
def test_digest_covers_what_can_change_a_result(
    description: dict[str, Any], path: tuple[str, ...], value: object, changes: bool
) -> None:
    other = copy.deepcopy(description)
    part: Any = other
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert (environment.digest(other) != description["digest"]) is changes


def test_engine_is_not_needed_for_a_running_server() -> None:
    url = {"url": "http://127.0.0.1:8090"}
    managed, running = {"path": "m.gguf"}, {"server": url}
    assert environment.needs_engine(parse_config({"models": {"m": managed}}))
    assert not environment.needs_engine(parse_config({"models": {"m": running}}))
    both = {"models": {"a": managed, "b": running}, "sweep": {"model": ["a", "b"]}}
    assert environment.needs_engine(parse_config(both))


def test_a_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine, "_read", lambda path: "100000 100000" if "cgroup" in str(path) else None
    )
    assert machine.usable_cores() == 1


def run_git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def test_commit_and_dirtiness(tmp_path: Path) -> None:
    run_git(tmp_path, "init")
    (tmp_path / "a").write_text("a")
    run_git(tmp_path, "add", "a")
    run_git(tmp_path, "commit", "-m", "a")
    clean = git.describe(tmp_path)
    assert (len(clean["commit"]), clean["dirty"], clean["reason"]) == (40, False, None)
    (tmp_path / "a").write_text("b")
    assert git.describe(tmp_path)["dirty"] is True
    below = tmp_path / "below"
    below.mkdir()
    assert git.describe(below)["commit"] is None


def test_no_checkout_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = git.describe(tmp_path)
    assert checkout["commit"] is None
    assert "not a git repository" in checkout["reason"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.describe(tmp_path)["reason"] == "git is not installed"
