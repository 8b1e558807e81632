"""The LoRA adapters that a llama.cpp has, against those that requests are to ask for."""

from __future__ import annotations

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.values import plain
from mls.server.api import ServerApi
from mls.server.model_list import is_listed, names


def check_adapters(api: ServerApi, run: Run) -> None:
    """Raise `UserError` where the server would leave an adapter out, silently.

    A server that doesn't say which adapters or models it has is taken to have them.
    """
    there = api.lora_adapters() if run.adapters else None
    if there is None:
        return
    _check_lora(run, there)
    models = api.models()
    for adapter in run.adapters:
        if models and adapter.model and not is_listed(adapter.model, models):
            raise UserError(
                f"run.adapters: {adapter.name} asks for the model {adapter.model}, which this llama.cpp "
                f"answers with its own ({plain(', '.join(names(models)))}); ask for what it has loaded "
                "by lora (id and scale)."
            )


def _check_lora(run: Run, there: dict[int, str]) -> None:
    """there: number → file of the adapters that the server has."""
    if run.api == "messages" and any(adapter.lora for adapter in run.adapters):
        raise UserError(
            f"run.adapters: llama.cpp passes lora on from every endpoint but {run.endpoint}; use "
            "another one, such as /v1/chat/completions."
        )
    for adapter in run.adapters:
        for lora in adapter.lora or ():
            if lora.id not in there:
                known = ", ".join(f"{number} ({path})" for number, path in there.items())
                raise UserError(
                    f"run.adapters: {adapter.name} asks for LoRA {lora.id}, and the server has "
                    f"{known or 'none'}; correct the id, or load it (--lora in server.extra_args)."
                )
