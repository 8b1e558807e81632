"""`make` builds an environment anew when it was made for another folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = [".venv", ".venv-test", ".venv-openmpi"]


@pytest.fixture
def checkout(tmp_path):
    """The parts of a checkout that `make` needs, with environments that were made there."""
    folder = tmp_path / "a 'place' $HOME"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    for environment in ENVIRONMENTS:
        (folder / environment / "bin").mkdir(parents=True)
        (folder / environment / "bin" / "python").symlink_to(sys.executable)
        (folder / environment / "built").write_text(f"{folder}\n")
    return folder


def is_built_anew(folder, environment):
    command = ["make", "--dry-run", f"{environment}/built"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return f"-m venv {environment}" in process.stdout


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_one_that_was_made_here_stays(checkout, environment):
    assert not is_built_anew(checkout, environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_one_that_was_made_elsewhere_does_not(checkout, environment):
    assert is_built_anew(checkout.rename(checkout.with_name("renamed")), environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nor_does_one_whose_interpreter_is_gone(checkout, environment):
    (checkout / environment / "bin" / "python").unlink()
    assert is_built_anew(checkout, environment)
