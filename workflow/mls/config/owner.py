"""The config file that a sweep's name belongs to, so that no other file measures under that name."""

from __future__ import annotations

from pathlib import Path

from mls.config.config import Config
from mls.config.parse import load_config
from mls.core.errors import UserError
from mls.core.files import read_json, write_json
from mls.core.sweep_folder import sweep_folder


def check_owner(config: Config, path: Path) -> None:
    """Raise `UserError` when another file that is still there has this name and other settings.

    A file that was renamed, or a copy of it, is no other one.
    """
    owner = Path((read_json(_record(config)) or {}).get("config", path))
    if not owner.is_file() or owner.resolve() == path.resolve():
        return
    try:
        other, this = load_config(owner), load_config(path)
    except UserError:
        return
    if (other.name, other.results) == (this.name, this.results) and other != this:
        raise UserError(
            f"name: {config.name} in {path} is also the name of the sweep of {owner}, which has other "
            f"settings and whose results in {config.results} would be lost: give one of them another "
            "name."
        )


def record_owner(config: Config, path: Path) -> None:
    """Note that the sweep's name belongs to this file. Raises `UserError`."""
    write_json(_record(config), {"config": str(path)})


def _record(config: Config) -> Path:
    return sweep_folder(Path(config.results), config.name) / "sweep.json"
