"""Which of the package's files make results stale: those on which requests and pinning depend."""

import pytest

RUNS = 2


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
def test_an_edit_to_what_measures_measures_again(complete_checkout, name):
    """Once no digest covered single files, and old results passed as new ones."""
    assert plan_after_edit(complete_checkout, name)["run"] == RUNS


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("report/pages/page.py", {"page", "latest"}),
        ("analysis/checks/steady.py", {"aggregate", "page", "latest"}),
        ("commands/probe.py", {"probe", "page", "latest"}),
    ],
)
def test_an_edit_to_what_does_not_measure_leaves_the_results(complete_checkout, name, again):
    assert set(plan_after_edit(complete_checkout, name)) - {"all", "default"} == again
