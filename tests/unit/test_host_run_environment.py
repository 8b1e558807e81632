"""Which run environments stay, and which are built anew."""

import json
import subprocess
import sys

import pytest

from mls.core.errors import UserError
from mls.host.run_environment import RunEnvironment

USER = """
import sys, time
from pathlib import Path
from mls.host.run_environment import RunEnvironment
RunEnvironment(Path(sys.argv[1]), (Path(sys.argv[2]),)).prepare()
print("prepared", flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path):
    """A run environment that fits, as far as can be judged without packages."""
    root = tmp_path / "checkout"
    lock = root / "requirements" / "run.txt"
    lock.parent.mkdir(parents=True)
    lock.write_text("numpy==2\n")
    environment = RunEnvironment(root, (lock,))
    environment.bin.mkdir(parents=True)
    (environment.bin / "python").symlink_to(sys.executable)
    environment.stamp.write_text(json.dumps(environment.contents() | {"with": "uv"}))
    return environment


def test_one_that_fits_stays(environment):
    before = environment.stamp.stat()
    environment.prepare()
    assert environment.stamp.stat() == before


@pytest.mark.parametrize(
    ("change", "here"),
    [
        (lambda e: e.locks[0].write_text("numpy==3\n"), True),
        (lambda e: e.stamp.write_text(json.dumps(e.contents() | {"python": "2.7"})), True),
        (lambda e: e.stamp.write_text('{"with": "uv", "locks": ["run.txt"]}'), False),
        (lambda e: e.stamp.write_text(""), False),
        (lambda e: e.stamp.unlink(), False),
        (lambda e: (e.bin / "python").unlink(), False),
    ],
    ids=["lock", "python", "made by an older version", "cut off", "half made", "no interpreter"],
)
def test_one_that_does_not_fit(environment, change, here):
    change(environment)
    assert environment.is_here() is here
    assert not environment.fits()


def test_a_moved_one_does_not_fit(environment, tmp_path):
    root = environment.root.rename(tmp_path / "renamed")
    other = RunEnvironment(root, (root / "requirements" / "run.txt",))
    assert not other.is_here() and not other.fits()


def test_none_is_built_anew_under_a_run(environment):
    """Once a run from a second folder, with other packages, deleted it under the first run."""
    other = environment.root / "requirements" / "cuda.txt"
    other.write_text("cupy==1\n")
    with subprocess.Popen(
        [sys.executable, "-c", USER, environment.root, environment.locks[0]],
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        try:
            assert user.stdout.readline() == "prepared\n"
            with pytest.raises(UserError, match="another run is at work in it"):
                RunEnvironment(environment.root, (*environment.locks, other)).prepare()
            assert environment.fits()
            environment.prepare()  # any number of runs may use one that fits
        finally:
            user.kill()


def test_an_installer_that_fails_is_one_sentence(environment):
    """uv and pip refuse a lock without hashes before they look for a package."""
    environment.locks[0].write_text("numpy==0.0.1\n")
    with pytest.raises(UserError, match="could not be installed"):
        environment.prepare()
    assert not environment.stamp.exists()


def test_no_package_index_is_one_sentence(environment, monkeypatch):
    environment.locks[0].write_text(f"numpy==2.0.0 --hash=sha256:{64 * '0'}\n")
    for name, value in {
        "UV_INDEX_URL": "http://127.0.0.1:9/simple",
        "UV_NO_CACHE": "1",
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="no package index can be reached: check the network"):
        environment.prepare()
    log = environment.root / ".snakemake" / "mls" / "venv-run.log"
    assert "127.0.0.1:9" in log.read_text()
