"""`mls probe`: a server's properties, printed or written to a file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import load_config, parse_config
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.core.files import write_json
from mls.load.trial import UNREADABLE, trial
from mls.protocol.body import without
from mls.protocol.values import plain
from mls.server.access import server_url, target_of
from mls.server.probe import probe_all
from mls.server.probe_result import Probe


def _check_transport(config: Config, model: str, url: str, probe: Probe) -> None:
    """Raise `UserError` when the run's transport can't read a reply that the probe can."""
    cell = next(cell for cell in cells(config) if cell["model"] == model)
    point = settings(config, cell, 1)
    if point.run.transport != "epoll":
        return
    run = without(point.run, probe.refused)
    reply = trial(target_of(url, point.server, run), run, probe.served_as)
    if reply.error in UNREADABLE:
        raise UserError(
            f"{plain(url)} can be read by the probe, but not by the epoll transport "
            f"({reply.error}: {reply.error_text}): set run.transport to requests, or mend what is "
            "between."
        )


def probe_server(
    urls: list[str],
    path: Path | None,
    model: str | None,
    api_key_env: str | None,
    output: Path | None,
) -> None:
    """Probe the servers, and print the probe or write it to `output`.

    urls: the servers'; [] stands for the config's. Raises `UserError` when a server can't be
    benchmarked.
    """
    config = (
        load_config(path)
        if path
        else parse_config({"models": {model or "server": {"served_as": model}}})
    )
    if api_key_env:
        data = config.model_dump(exclude_unset=True)
        config = parse_config(
            data | {"server": data.get("server", {}) | {"api_key_env": api_key_env}}
        )
    name = model or next(iter(config.models))
    roots = urls or config.server.addresses
    if not roots:
        raise UserError("Give --server URL.")
    urls = [server_url(root) for root in roots]
    result = probe_all(config, name, urls)
    for url, probe in zip(urls, [result, *result.others], strict=True):
        _check_transport(config, name, url, probe)
    record = result.model_dump(mode="json")
    if output:
        write_json(output, record)
    else:
        Console().print_json(data=record)
    for warning in result.warnings:
        Console(stderr=True).print(f"warning: {warning}", markup=False, highlight=False)
