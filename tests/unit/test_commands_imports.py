"""A rank's start is most of a short run: it imports no library before it is used."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "requests",
    "urllib3",
    "rich",
    "yaml",
    "scipy",
    "pandas",
    "jinja2",
    "prometheus_client",
} | {"jsonschema"}
pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("mls.worker", HEAVY | {"psutil", "pyarrow.compute", "mls.analysis", "mls.server.api"}),
        ("mls.commands.control", HEAVY - {"requests", "urllib3", "prometheus_client"}),
        ("mls.cli", HEAVY | {"numpy", "pyarrow", "mpi4py", "pydantic", "mls.analysis"}),
        ("mls.commands.serve", HEAVY | {"numpy", "pyarrow", "mpi4py", "mls.analysis"}),
        ("mls.server.engine.xllamacpp", HEAVY | {"numpy", "psutil", "pydantic"}),
        ("mls.server.telemetry.sampler", HEAVY - {"requests", "urllib3", "prometheus_client"}),
    ],
)
def test_what_a_command_does_not_use_is_not_imported(module, heavy):
    assert heavy.isdisjoint(modules_after(f"import {module}"))


def test_help_imports_what_the_command_line_does():
    code = "import sys, mls.cli; sys.argv = ['mls', '--help']\ntry: mls.cli.main()\nexcept SystemExit: 0"
    assert (HEAVY - {"rich"} | {"numpy", "psutil", "pydantic"}).isdisjoint(modules_after(code))


def test_rank_0_judges_without_scipy():
    """Its import took a second of each repeat."""
    code = (
        "from tests.unit.synthetic import Load, table; from tests.unit.verdicts import verdicts\n"
        "judged = verdicts(table(Load(places=4, requests=80, noise=0.3)))\n"
        "assert judged['steady'].status == judged['warmed_up'].status == 'pass'"
    )
    assert "scipy" not in modules_after(code)


def test_records_are_made_without_pandas():
    """pyarrow imports it, where it is installed, for the first list that becomes an array."""
    code = (
        "from mls.core.arrow import without_pandas; from mls.core.record import REQUESTS\n"
        "import pyarrow as pa; without_pandas()\n"
        "pa.table({name: [None] for name in REQUESTS.names}, schema=REQUESTS)"
    )
    assert "pandas" not in modules_after(code)
    assert "pandas" in modules_after(f"{code}\nimport pandas")


def modules_after(code):
    """The modules that a new interpreter has loaded after this code."""
    listed = f"{code}\nimport json, sys; print(); print(json.dumps(list(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", listed], capture_output=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))
