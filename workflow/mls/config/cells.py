"""The cells of a config, the order of their runs, and where these lie."""

from __future__ import annotations

import hashlib
import itertools

from mls.config.axes import Cell, axes, cell_key, check_axes, default, tidy
from mls.config.config import Config
from mls.config.sections.adaptive import Search
from mls.config.settings import Settings, settings
from mls.core.errors import UserError


def cells(config: Config) -> list[Cell]:
    """All cells; the first axis varies slowest. A searched axis has the first value of its search.

    Raises `UserError` for an axis or a value that is not valid.
    """
    check_axes(config)
    values = [config.sweep.get(axis) or [default(config, axis)] for axis in axes(config)]
    points = [dict(zip(axes(config), point, strict=True)) for point in itertools.product(*values)]
    for cell in points:
        if settings(config, cell, repeat=1).server.shared:
            _check_sharing(config)
        if config.search:
            highest = cell | {config.search.axis: tidy(config.search.high)}
            _check_search(settings(config, highest, repeat=1), config.search)
    return points


def _check_sharing(config: Config) -> None:
    """Raise `UserError` when runs may be added later, which can't have the process of the others."""
    if config.repeats == "auto" or config.search:
        key = "search" if config.search else "repeats: auto"
        raise UserError(
            f"server.reuse: cell goes with a number of repeats that is known beforehand, not with {key}; "
            "use reuse: repeat, or give a number and the values."
        )


def _check_search(highest: Settings, search: Search) -> None:
    """Raise `UserError` when the load has no such axis to search."""
    if search.axis == "inflight" and highest.load.open:
        raise UserError(
            f"search.axis: in an open loop (load.kind {highest.load.kind}) inflight is not for the "
            "config to say; search `rate`."
        )


def run_order(config: Config) -> list[tuple[str, int]]:
    """(`cell_key`, repeat) of all runs in the order to measure them.

    Repeats are blocks: the first repeat of every cell, then the second of every cell, and so on.
    The config's seed shuffles the cells of each block anew, so a machine that drifts favours no
    cell. Where results decide, the list has every run that may come; a search has its first cell.
    """
    keys = [cell_key(cell) for cell in cells(config)]
    return [
        (key, repeat)
        for repeat in range(1, config.most_repeats + 1)
        for key in sorted(keys, key=lambda key: _shuffle(config, key, repeat))
    ]


def _shuffle(config: Config, key: str, repeat: int) -> bytes:
    return hashlib.sha256(f"order|{config.seed}|{config.name}|{repeat}|{key}".encode()).digest()


def run_path(config: Config, cell: Cell, repeat: int) -> str:
    """Folder of one repeat below `<results>/runs` (the Paramspace instance)."""
    return f"name~{config.name}/{cell_key(cell)}/repeat~{repeat}"


def parse_cell(config: Config, assignments: list[str]) -> Cell:
    """The cell of `cells(config)` whose values print as in these `axis=value` strings.

    A searched axis may have any value within the bounds of its search.
    Raises `UserError` when the config has no such cell.
    """
    texts = dict(item.partition("=")[::2] for item in assignments)
    for cell in cells(config):
        point = cell | _search_value(config, texts)
        if all(str(point.get(axis)) == value for axis, value in texts.items()):
            return point
    raise UserError(f"The config has no cell {texts}: its axes are {', '.join(axes(config))}.")


def _search_value(config: Config, texts: dict[str, str]) -> Cell:
    """The searched axis with its value in `texts`; empty when it has none within the bounds."""
    search = config.search
    if search is None or search.axis not in texts:
        return {}
    try:
        value = float(texts[search.axis])
    except ValueError:
        return {}
    whole = value.is_integer() or search.axis != "inflight"
    return {search.axis: tidy(value)} if whole and search.low <= value <= search.high else {}
