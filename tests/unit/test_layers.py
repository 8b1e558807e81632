"""The package is a stack of layers; imports point down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "workflow" / "mls"
LAYERS = ["model", "gpu", "host", "server", "load", "analysis", "report"]
# the tenants of the top layer, `cli`, are the files beside the layers' folders


def layer_of(module: str) -> int:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else len(LAYERS)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("mls.")}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_down(path):
    relative = path.relative_to(PACKAGE)
    own = LAYERS.index(relative.parts[0]) if len(relative.parts) > 1 else len(LAYERS)
    for name in imports(path) - {"mls.__version__"}:
        assert layer_of(name) <= own, f"{relative} imports {name}, which is above it"


@pytest.mark.parametrize("layer", LAYERS)
def test_only_layers_that_exist_are_named(layer):
    assert (PACKAGE / layer / "__init__.py").exists()


def test_analysis_and_report_know_neither_http_nor_mpi():
    for layer in ("analysis", "report"):
        for path in (PACKAGE / layer).rglob("*.py"):
            tree = ast.walk(ast.parse(path.read_text()))
            modules = {
                alias.name.split(".")[0]
                for node in tree
                if isinstance(node, ast.Import)
                for alias in node.names
            }
            assert not modules & {"requests", "httptools", "mpi4py", "socket"}, path
