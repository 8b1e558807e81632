"""Which of the package's files make results stale: those on which requests and pinning depend."""

import pytest
from tests.servers.honest import HonestServer


@pytest.fixture(scope="module")
def measured(checkout):
    """The checkout with one repeat, of a server that is there already."""
    with HonestServer() as server:
        checkout.write(
            {
                "name": "sources",
                "environment": {"manager": "current"},
                "models": {"m": {}},
                "server": {"url": server.url},
                "run": {"iters": 2, "max_tokens": 2, "warmup": 0},
                "sweep": {"inflight": [1], "ranks": [1]},
                "repeats": 1,
            }
        )
        process = checkout.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    assert checkout.plan() == {}
    yield checkout
    checkout.reset()


def plan_after_edit(checkout, name):
    """The jobs that a run would start after an edit of one file of the package."""
    path = checkout.folder / "workflow" / "mls" / name
    text = path.read_text()
    path.write_text(f"{text}\n# edited\n")
    try:
        return checkout.plan()
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "worker.py",
        "commands/run.py",
        "commands/serve.py",
        "commands/control.py",
        "commands/outcome.py",
        "load/transport/epoll.py",
        "host/pinning.py",
    ],
)
def test_an_edit_to_what_measures_measures_again(measured, name):
    """Once no digest covered single files, and old results passed as new ones."""
    assert plan_after_edit(measured, name)["run"] == 1


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("report/pages/page.py", {"page", "latest"}),
        ("analysis/checks/steady.py", {"aggregate", "page", "latest"}),
        ("commands/probe.py", {"probe", "page", "latest"}),
    ],
)
def test_an_edit_to_what_does_not_measure_leaves_the_results(measured, name, again):
    assert set(plan_after_edit(measured, name)) - {"all", "default"} == again
