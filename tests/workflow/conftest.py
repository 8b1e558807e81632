"""One checkout for all workflow tests, so that its environment and model are made only once."""

import pytest
from tests.workflow.checkout import SMALL, Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    made.write(SMALL)
    first = made.snakemake()
    assert first.returncode == 0, first.stdout + first.stderr
    return made
