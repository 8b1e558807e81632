"""A local model's bytes decide on what is measured again: of a file, and of any part."""

import os

from tests.gguf_files import write_gguf
from tests.workflow.checkout import SMALL, Checkout

MODEL = "results/models/m.json"


def test_another_part_under_the_same_name_is_described_anew(tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    parts = write_gguf(checkout.folder / "weights", "tiny", tensors=3, parts=3)
    model = {"models": {"m": {"path": f"weights/{parts[0].name}"}}}
    environment = {"environment": {"manager": "current"}}
    sweep = {"sweep": {"inflight": [1], "ranks": [1]}}
    checkout.write(SMALL | model | environment | sweep)
    done = checkout.snakemake("--", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr

    def plan():
        dry = checkout.snakemake("--dry-run", MODEL)
        assert dry.returncode == 0, dry.stdout + dry.stderr
        return dry.stdout + dry.stderr

    assert "Nothing to be done" in plan()
    os.utime(parts[2])
    assert "Nothing to be done" in plan()
    whole = parts[2].read_bytes()
    parts[2].write_bytes(whole[:-64] + bytes(64))
    assert "Params have changed" in plan()
    parts[2].unlink()
    assert "Nothing to be done" in plan()
