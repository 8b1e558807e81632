"""A model's folder in transformers' form from its GGUF. Run by an engine's own Python.

`python model_folder.py GGUF FOLDER`
"""

import sys
from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def convert(gguf: Path, folder: Path) -> None:
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    config = AutoConfig.from_pretrained(**source)
    weights = AutoModelForCausalLM.from_pretrained(**source).state_dict()
    # the model that was read remembers its GGUF, and can't be saved as another format
    config.__dict__.pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(weights)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:]))
