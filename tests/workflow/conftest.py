"""One checkout for all workflow tests, so that its environment and model are made only once."""

import shutil
import subprocess

import pytest
from tests.workflow.checkout import ROOT, SMALL, Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Checkout:
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    made = Checkout(folder)
    made.write(SMALL)
    first = made.snakemake()
    assert first.returncode == 0, first.stdout + first.stderr
    return made
