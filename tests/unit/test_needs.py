"""What `make` checks before it installs anything, on machines that lack some of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "scripts" / "needs.sh"
APT = re.compile(r"^sudo apt-get install (.+)$", re.M)
TOOLS = ("basename", "grep", "id", "sh")
EVERYTHING = ("python", "libgomp", "git", "chromium")


@pytest.fixture
def machine(tmp_path):
    """A PATH with a few tools, and a loader that finds no library."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    program(tmp_path / "ldconfig", "true")
    return tmp_path


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def needs(path, *names, python="python3"):
    return subprocess.run(
        ["/bin/sh", SCRIPT, *names],
        env={"PATH": str(path), "PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_that_is_missing_is_one_sentence_with_one_apt_line(machine):
    program(machine / "id", "echo 1000")
    process = needs(machine, *EVERYTHING)
    assert process.returncode == 1 and process.stdout == ""
    (line,) = process.stderr.splitlines()
    for word in ("Python 3.11", "libgomp.so.1", "git", "Chromium"):
        assert word in line
    packages = line.rpartition("sudo apt-get install ")[2].split()
    assert packages == "python3 python3-venv libgomp1 git chromium chromium-driver".split()


def test_the_readme_names_all_that_make_report_may_ask_for(machine):
    packages = APT.search((ROOT / "README.md").read_text())[1].split()
    names = needs(machine, "python", "libgomp", "git").stderr.rpartition("install ")[2].split()
    assert {*names, "make"} == {*packages}


def test_every_document_has_the_readmes_apt_line():
    packages = APT.search((ROOT / "README.md").read_text())[1]
    lines = re.findall(r"`sudo apt-get install (make [^`]+)`", (ROOT / "QUICKSTART.md").read_text())
    assert lines == [packages]


def test_an_old_python_is_not_sent_to_apt(machine):
    program(machine / "python3", "exit 1")
    process = needs(machine, "python")
    assert process.returncode == 1
    assert "python3 is older" in process.stderr and "PYTHON=python3.12" in process.stderr
    assert "apt-get" not in process.stderr


def test_a_python_without_venv_names_its_own_package(machine):
    program(machine / "python3.12", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    process = needs(machine, "python", python="python3.12")
    assert "the venv module of python3.12" in process.stderr
    assert process.stderr.rstrip().endswith("sudo apt-get install python3.12-venv")


def test_root_on_debian_gets_chromium_from_make(machine):
    program(machine / "id", "echo 0")
    program(machine / "apt-get", "true")
    assert needs(machine, "chromium").returncode == 0


def test_here_nothing_is_missing():
    """The real Python and the real loader are there, as this test runs."""
    process = subprocess.run(
        ["/bin/sh", SCRIPT, "python", "libgomp"], env={"PYTHON": sys.executable}, check=False
    )
    assert process.returncode == 0
