"""`mls reproduce`: measures an archive's config again, and compares new and archived results."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

from mls.analysis.result_sets import CONFIG
from mls.commands.compare import compare_results
from mls.config.parse import parse_config
from mls.core.digest import PACKAGE
from mls.core.errors import UserError
from mls.core.files import write_json
from mls.report.archive.verification import verify

ROOT = PACKAGE.parent.parent
"""The checkout, whose Snakefile measures."""


def reproduce(archive: Path, results: Path, cores: str, fail_if_worse: str | None) -> int:
    """Verify the archive, measure its config into `results`, and compare. Returns the exit status.

    The new page has the archive as its baseline. The comparison is `reproduced.html` in `results`.
    Raises `UserError` when the archive fails verification, or nothing could be measured.
    """
    verify(archive)
    config = _config(archive, results)
    path = results / "reproduce.json"
    write_json(path, config)
    # As `make report` does: the same lines, and a failure's sentence
    launcher = [str(_python()), str(ROOT / "workflow" / "launcher")]
    command = [*launcher, "--cores", cores, "--config", str(path.resolve())]
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise UserError(
            f"The archive's config can't be measured (exit status {status}); see above."
        )
    return compare_results(archive, results, results / "reproduced.html", fail_if_worse)


def _config(archive: Path, results: Path) -> dict[str, object]:
    """The archived config, writing to `results`, with the archive as baseline."""
    with zipfile.ZipFile(archive) as bundle:
        try:
            config: dict[str, object] = json.loads(bundle.read(CONFIG))
        except KeyError:
            raise UserError(
                f"{archive} has no {CONFIG}: it wasn't made by `mls archive`."
            ) from None
    config |= {"results": str(results.resolve()), "baseline": str(archive.resolve())}
    parse_config(config)  # Turns a key that this version lacks into one sentence
    return config


def _python() -> Path:
    """The interpreter of the launcher environment, or of the one whose Snakemake is on PATH."""
    if not (ROOT / "Snakefile").is_file():
        raise UserError(
            f"There is no Snakefile in {ROOT}: run this from a checkout of the project."
        )
    program = shutil.which("snakemake")
    for folder in (ROOT / ".venv" / "bin", Path(program or "snakemake").parent):
        if (folder / "snakemake").is_file() and (folder / "python").is_file():
            return folder / "python"
    raise UserError("snakemake was not found: run `make report` once, which installs it.")
