"""Real GGUF files of a few kB, written by the gguf library: whole, or in parts as by gguf-split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

ELEMENTS = 8 * 32
"""Number of elements of each tensor."""

_RANK = 4  # of an adapter


def write_gguf(
    folder: Path, name: str, tensors: int = 1, parts: int = 1, fill: float = 1
) -> list[Path]:
    """Write the files and return them in order.

    Their names are `<name>.gguf`, or `<name>-00001-of-0000N.gguf` and so on. tensors: the number
    of tensors, spread evenly over the parts. fill: the value of all weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name if parts > 1 else f"{name}.gguf")
    writer = GGUFWriter(path, "llama", split_max_tensors=tensors // parts if parts > 1 else 0)
    writer.add_name("Tiny")
    writer.add_file_type(1)
    writer.add_context_length(256)
    writer.add_token_list(["a", "bc", "äöü", ""])
    writer.add_token_scores([0.5, 1.5, 2.5, 3.5])
    writer.add_chat_template("{{ messages }}")
    for number in range(tensors):
        writer.add_tensor(f"w{number}", np.full((8, 32), fill, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{name}-*-of-*.gguf")) if parts > 1 else [path]


def write_adapter(model: Path, path: Path, strength: float) -> None:
    """Write a LoRA of the model's attention outputs.

    strength: standard deviation of its second matrix; with 0 it has no effect.
    """
    draw = np.random.default_rng(1).standard_normal
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", _RANK)
    for tensor in GGUFReader(model).tensors:
        if tensor.name.endswith("attn_output.weight"):
            columns, lines = map(int, tensor.shape)
            down, up = draw((_RANK, columns)) / columns**0.5, draw((lines, _RANK)) * strength
            writer.add_tensor(f"{tensor.name}.lora_a", down.astype(np.float32))
            writer.add_tensor(f"{tensor.name}.lora_b", up.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
