"""A local model's bytes decide what is measured again: those of a file, and of each part."""

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
    process = checkout.snakemake("--", MODEL)
    assert process.returncode == 0, process.stdout + process.stderr

    def plan():
        result = checkout.snakemake("--dry-run", MODEL)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    assert "Nothing to be done" in plan()
    os.utime(parts[2])
    assert "Nothing to be done" in plan()
    whole = parts[2].read_bytes()
    parts[2].write_bytes(whole[:-64] + bytes(64))
    assert "Params have changed" in plan()
    parts[2].unlink()
    assert "Nothing to be done" in plan()
