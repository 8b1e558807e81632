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


@pytest.fixture
def finished(checkout):
    """The checkout with everything of the small config measured."""
    checkout.write(SMALL)
    if checkout.planned():  # another test ran another config meanwhile
        assert checkout.snakemake().returncode == 0
    yield checkout
    checkout.write(SMALL)
