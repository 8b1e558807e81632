"""Files that a managed server's own words name: its program, adapters, projectors, models that draft."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from mls.config.sections.server import Server
from mls.server.weights.model_files import folder_files, part_name

_BETWEEN = re.compile(r"""[\s=,:;"'{}()\[\]]+""")
_OF_WEIGHTS = ("config.json", "adapter_config.json")
_WRITTEN = re.compile(r"(?i)\blog\b|log_?file|lookup.cache.dynamic|^-lcd$")
"""Names of options whose file is written by the server itself, and so differs after each repeat."""


def named_files(server: Server) -> list[Path]:
    """Files that exist and that the words of a server that mls starts name, in their order.

    They are its program, with the shared libraries beside it, in which llama.cpp keeps most of a
    build, and those of `extra_args`, `command` and `environment`, alone or within a word
    (`--lora=a.gguf:0.5`, `lora_adapters=['a.gguf']`, JSON). Of a model by gguf-split they are all
    parts, of a folder with a model's or an adapter's configuration all files. Whether a word is a
    file's name can't be told where there is none.
    """
    if server.addresses:
        return []
    words = [*server.command, *server.extra_args]
    values = [*zip(["", *words], words, strict=False), *server.environment.items()]
    names = [name for option, word in values if not _is_written(option, word) for name in _in(word)]
    others = (file for name in names for file in _files(name))
    return list(dict.fromkeys([*_program(server), *others]))


def _program(server: Server) -> list[Path]:
    program = shutil.which(server.command[0] if server.command else server.binary or "")
    if program is None:
        return []
    return [Path(program), *sorted(Path(program).resolve().parent.glob("lib*.so*"))]


def _is_written(option: str, word: str) -> bool:
    own, has_value, _ = word.partition("=")
    name = own if has_value else option
    return bool(_WRITTEN.search(name)) or word.endswith(".log")


def _in(word: str) -> list[str]:
    """What in a word may be a name: the word, what follows its first `=`, and its pieces."""
    return [word, word.partition("=")[2], *_BETWEEN.split(word)]


def _files(name: str) -> list[Path]:
    path = Path(name)
    if name and _is_file(path):
        parts = part_name(path.name)
        others = [path.with_name(one) for one in parts.all] if parts else []
        return [path, *(other for other in others if other != path and _is_file(other))]
    if name and any(_is_file(path / one) for one in _OF_WEIGHTS):
        return folder_files(path)
    return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than any name, or in a folder of others
        return False
