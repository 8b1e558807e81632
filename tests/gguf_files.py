"""Real GGUF files of a few kB, written by the gguf library: whole, or in parts as by gguf-split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

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


def write_projector(path: Path, model: Path) -> None:
    """Write an encoder of images for the model, small and of random weights.

    It is of Gemma 3's kind: an image of any size becomes 4 embeddings.
    """
    width, feed, side, patch = 32, 64, 64, 8
    into = next(int(t.shape[0]) for t in GGUFReader(model).tensors if t.name == "token_embd.weight")
    writer = GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_file_type(0)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("gemma3")
    writer.add_vision_embedding_length(width)
    writer.add_vision_head_count(2)
    writer.add_vision_feed_forward_length(feed)
    writer.add_vision_block_count(1)
    writer.add_vision_projection_dim(into)
    writer.add_vision_image_size(side)
    writer.add_vision_patch_size(patch)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    draw = np.random.default_rng(1).standard_normal
    matrices = {
        "v.patch_embd": (width, 3, patch, patch),
        "v.position_embd": ((side // patch) ** 2, width),
        **{f"v.blk.0.attn_{name}": (width, width) for name in ("q", "k", "v", "out")},
        "v.blk.0.ffn_up": (feed, width),
        "v.blk.0.ffn_down": (width, feed),
        "mm.input_projection": (width, into),
    }
    for name, shape in matrices.items():
        writer.add_tensor(f"{name}.weight", (draw(shape) * 0.5).astype(np.float32))
    for name in ("v.blk.0.ln1", "v.blk.0.ln2", "v.post_ln", "mm.soft_emb_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_first_layers(model: Path, path: Path, layers: int) -> None:
    """Write a model's first layers, with all else that its file has: tokenizer, template, context."""
    reader = GGUFReader(model)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = GGUFWriter(path, architecture)
    for name, field in reader.fields.items():
        if name != "general.architecture" and not name.startswith("GGUF."):
            value = layers if name == f"{architecture}.block_count" else field.contents()
            element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, value, field.types[0], sub_type=element)
    for tensor in reader.tensors:
        kind, _, rest = tensor.name.partition(".")
        if kind != "blk" or int(rest.partition(".")[0]) < layers:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
