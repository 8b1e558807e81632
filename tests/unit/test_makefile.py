"""`make` builds an environment anew when it was made for another place."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = [".venv", ".venv-test", ".venv-openmpi"]


@pytest.fixture
def place(tmp_path):
    """A checkout, as far as `make` looks at it, with environments that were made there."""
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
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return f"-m venv {environment}" in done.stdout


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_one_that_was_made_here_stays(place, environment):
    assert not is_built_anew(place, environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_one_that_was_made_elsewhere_does_not(place, environment):
    assert is_built_anew(place.rename(place.with_name("renamed")), environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nor_does_one_whose_interpreter_is_gone(place, environment):
    (place / environment / "bin" / "python").unlink()
    assert is_built_anew(place, environment)
