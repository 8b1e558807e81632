"""`serve` with the real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.serving import Serve


@pytest.fixture
def serve(tmp_path: Path, smollm2: Path) -> Iterator[Serve]:
    served = Serve(tmp_path, smollm2)
    yield served
    if served.process and served.process.poll() is None:
        served.process.kill()
        served.process.wait()
