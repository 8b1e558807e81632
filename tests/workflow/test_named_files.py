"""Files that the config names decide what is measured again: by their bytes, not by their times."""

import os

import pytest
from tests.gguf_files import write_adapter
from tests.pictures import png
from tests.workflow.checkout import SMALL, Checkout

pytestmark = pytest.mark.timeout(240)
ONLY_THE_PAGE = {"page": 1, "latest": 1}
"""What is planned beside a measurement: no page is made here."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory, shallow_smollm2):
    """A checkout with one repeat, of a server that has an adapter, below whose media a picture lies."""
    checkout = Checkout(tmp_path_factory.mktemp("named") / "checkout")
    adapter = checkout.folder / "adapter.gguf"
    write_adapter(shallow_smollm2, adapter, 0.0)
    picture = checkout.folder / "media" / "deep" / "shown.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(png(8, 8, 0))
    (checkout.folder / "d.jsonl").write_text('{"prompt": "Hello."}')
    config = {
        "models": {"m": {"path": str(shallow_smollm2)}},
        "server": SMALL["server"] | {"extra_args": ["lora_adapters=['adapter.gguf']"]},
        # the engine needs no projector for rows without a picture
        "workload": {"kind": "dataset", "file": "d.jsonl", "replace": True, "media": "media"},
        "sweep": {"inflight": [1], "ranks": [1]},
    }
    checkout.write(SMALL | config)
    process = checkout.snakemake("--", "aggregate")
    assert process.returncode == 0, process.stdout + process.stderr
    assert checkout.plan() == ONLY_THE_PAGE
    return checkout


def plan_with(checkout, path, content):
    """The jobs that a run would start while a file has other bytes."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        return checkout.plan()
    finally:
        path.write_bytes(whole)


def test_a_replaced_adapter_is_measured_again(measured):
    adapter = measured.folder / "adapter.gguf"
    whole = adapter.read_bytes()
    plan = plan_with(measured, adapter, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert (plan["run"], plan["probe"]) == (1, 1)
    os.utime(adapter)
    assert measured.plan() == ONLY_THE_PAGE


def test_a_replaced_picture_is_measured_again(measured):
    picture = measured.folder / "media" / "deep" / "shown.png"
    plan = plan_with(measured, picture, png(8, 8, 255))
    assert plan["run"] == 1 and "probe" not in plan
    os.utime(picture)
    assert measured.plan() == ONLY_THE_PAGE
