"""One checkout for all workflow tests: its environment and model are made only once."""

import pytest
from tests.workflow.checkout import SMALL, Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.write(SMALL)
    process = checkout.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    return checkout


@pytest.fixture
def complete_checkout(checkout):
    """The checkout with a result of every repeat of the small config."""
    checkout.write(SMALL)
    if checkout.plan():  # another test ran another config meanwhile
        assert checkout.snakemake().returncode == 0
    yield checkout
    checkout.write(SMALL)
