"""A rank's start is most of a short run: it imports no library before it is used."""

import json
import subprocess
import sys

import pytest

HEAVY = {"requests", "urllib3", "rich", "yaml", "scipy", "pandas", "jinja2", "prometheus_client"}
pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("mls.worker", HEAVY | {"mls.analysis", "mls.server.api", "mls.report"}),
        ("mls.cli", HEAVY | {"numpy", "pyarrow", "mpi4py", "pydantic", "mls.analysis"}),
        (
            "mls.commands.serve",
            (HEAVY - {"requests", "urllib3"}) | {"mls.analysis", "mpi4py", "pyarrow"},
        ),
    ],
)
def test_what_a_command_does_not_use_is_not_imported(module, heavy):
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert heavy.isdisjoint(json.loads(process.stdout))
