"""The package is a stack of layers; imports point down only."""

import ast
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "mls"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = ROOT / "tests"
LAYERS = [
    "core",
    "config",
    "gpu",
    "host",
    "protocol",
    "server",
    "load",
    "analysis",
    "report",
    "commands",
]
# the files beside the layers' folders are above all layers
MOST_MODULES = 13


def layer_of(module: str) -> int:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else len(LAYERS)


def modules(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(["mls", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def module_in(name: str, names: Iterable[str]) -> str | None:
    """The module of an imported name, which is a module itself or something in one."""
    return next(
        (candidate for candidate in (name, name.rpartition(".")[0]) if candidate in names), None
    )


def for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path: Path, when_run: bool = False) -> set[str]:
    """The package's own names that a module imports. when_run: leave out those for types alone."""
    names = set()
    tree = ast.parse(path.read_text())
    type_only = {
        id(n) for each in ast.walk(tree) if for_type_checkers(each) for n in ast.walk(each)
    }
    for node in ast.walk(tree):
        if when_run and id(node) in type_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("mls.")}


def test_imports_point_down():
    upward = []
    for path in MODULES:
        relative = path.relative_to(PACKAGE)
        own = LAYERS.index(relative.parts[0]) if len(relative.parts) > 1 else len(LAYERS)
        above = {name for name in imports(path) - {"mls.__version__"} if layer_of(name) > own}
        upward += [f"{relative} imports {name}" for name in above]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others():
    paths = {name_of(path): path for path in MODULES}
    graph = {
        name: {
            target
            for import_name in imports(path, when_run=True)
            if (target := module_in(import_name, paths))
        }
        for name, path in paths.items()
    }
    TopologicalSorter({name: targets - {name} for name, targets in graph.items()}).prepare()


def test_folders_are_the_layers_and_hold_few_modules():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == {*LAYERS}
    counts = {str(path.parent.relative_to(PACKAGE)): len(modules(path.parent)) for path in MODULES}
    too_full = {folder: count for folder, count in counts.items() if count > MOST_MODULES}
    assert not too_full, f"more than {MOST_MODULES} modules: make a folder of some"


def test_the_map_of_modules_is_that_of_the_tree():
    table = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| \[([a-z/]+)/\]\(\S+\) \|[^|]*\|([^|]*)\|", table, re.MULTILINE)
    listing = {folder: re.findall(r"`(\w+)`", names) for folder, names in rows}
    folders = {path.parent for path in MODULES} - {PACKAGE}
    tree = {str(folder.relative_to(PACKAGE)): modules(folder) for folder in folders}
    assert listing.keys() == tree.keys()
    for folder, names in tree.items():
        assert listing[folder] == names, f"the row {folder}/ of docs/ARCHITECTURE.md"


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


# searched in the text, as some tests hold the programs of other processes as strings
IMPORT_OF_A_TEST = re.compile(
    r"^\s*(?:from|import)\s[^(\n]*?(?:\([^)]*?)?\b(test_\w+)", re.MULTILINE
)


def test_no_test_is_imported():
    """Code that tests share has modules of its own, named after their contents."""
    importers = {
        str(path.relative_to(TESTS)): names
        for path in sorted(TESTS.rglob("*.py"))
        if (names := IMPORT_OF_A_TEST.findall(path.read_text()))
    }
    assert importers == {}
