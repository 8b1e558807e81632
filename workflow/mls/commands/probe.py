"""`mls probe`: what a server is, said and written down."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mls.config.parse import load_config, parse_config
from mls.core.errors import UserError
from mls.core.files import write_json
from mls.server.access import server_url
from mls.server.probe import probe_all


def probe_server(
    urls: list[str],
    config: Path | None,
    model: str | None,
    api_key_env: str | None,
    output: Path | None,
) -> None:
    """Probe, say what was found, write it down. Raises `UserError` when it can't be benchmarked."""
    loaded = (
        load_config(config)
        if config
        else parse_config({"models": {model or "server": {"served_as": model}}})
    )
    if api_key_env:
        data = loaded.model_dump(exclude_unset=True)
        loaded = parse_config(
            data | {"server": data.get("server", {}) | {"api_key_env": api_key_env}}
        )
    name = model or next(iter(loaded.models))
    roots = urls or loaded.server.addresses
    if not roots:
        raise UserError("Give --server URL.")
    found = probe_all(loaded, name, [server_url(root) for root in roots])
    described = found.model_dump(mode="json")
    if output:
        write_json(output, described)
    else:
        Console().print_json(data=described)
    for warning in found.warnings:
        Console(stderr=True).print(f"warning: {warning}", markup=False, highlight=False)
