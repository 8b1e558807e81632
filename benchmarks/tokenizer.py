"""A tokenizer for peers that need one: one token a word, made here, without any hub."""

from __future__ import annotations

import json
from pathlib import Path

from mls.protocol.prompts import prompt


def words() -> list[str]:
    """The words of the generator's prompts: a real server gets similar ones from all clients."""
    return sorted(
        {word for job in range(500) for word in prompt(1, job, 48).split() if word.isalpha()}
    )


def make(folder: Path) -> Path:
    """Write it in the format that `transformers.AutoTokenizer` loads; returns the folder.

    ` tok`, the only word of the ground-truth server, is one token, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*special, "tok", *words()]))}
    entries = [
        {
            "id": vocabulary[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in special
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": entries,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 1_000_000,
        "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
