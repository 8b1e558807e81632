"""Two checkouts for all workflow tests: what is made in them is made only once."""

import shutil

import pytest
from tests.workflow.checkout import BUILT, Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory, smollm2) -> Checkout:
    """A checkout in the tests' environment, whose model has been fetched."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    models = checkout.results / "models"
    models.mkdir(parents=True)
    for file in (smollm2, smollm2.with_name(f"{smollm2.name}.origin.json")):
        shutil.copy2(file, models)
    return checkout


@pytest.fixture(scope="session")
def built_checkout(tmp_path_factory) -> Checkout:
    """A checkout with an environment of its own."""
    return Checkout(tmp_path_factory.mktemp("built"), BUILT)


@pytest.fixture
def complete_built_checkout(built_checkout):
    built_checkout.complete()
    yield built_checkout
    built_checkout.reset()
