"""`serve` with the real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.serving import Serve


@pytest.fixture
def serve(tmp_path: Path, smollm2: Path) -> Iterator[Serve]:
    driver = Serve(tmp_path, smollm2)
    yield driver
    if driver.process and driver.process.poll() is None:
        driver.process.kill()
        driver.process.wait()
