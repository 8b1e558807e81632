"""`serve` with the real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.serving import Serve, ServeCommand


@pytest.fixture
def serve(tmp_path: Path, shallow_smollm2: Path) -> Iterator[Serve]:
    driver = Serve(tmp_path, shallow_smollm2)
    yield driver
    if driver.process and driver.process.poll() is None:
        driver.process.kill()
        driver.process.wait()


@pytest.fixture
def serve_command(tmp_path: Path) -> Iterator[ServeCommand]:
    model = tmp_path / "model"
    model.mkdir()
    driver = ServeCommand(tmp_path, model)
    yield driver
    if driver.process and driver.process.poll() is None:
        driver.process.kill()
        driver.process.wait()
