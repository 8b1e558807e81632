"""Which of the package's files make results stale: those that decide on what is sent and pinned."""

import pytest

RUNS = 2


def planned_after_an_edit(checkout, name):
    path = checkout.folder / "workflow" / "mls" / name
    text = path.read_text()
    path.write_text(f"{text}\n# edited\n")
    try:
        return checkout.planned()
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "worker.py",
        "commands/run.py",
        "commands/serve.py",
        "commands/outcome.py",
        "load/transport/epoll.py",
        "host/pinning.py",
    ],
)
def test_an_edit_to_what_measures_measures_again(finished, name):
    """Single files were in no digest once: old results stayed, as if they were new."""
    assert planned_after_an_edit(finished, name)["run"] == RUNS


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("report/pages/page.py", {"page"}),
        ("analysis/checks/steady.py", {"aggregate", "page"}),
        ("commands/probe.py", {"probe", "page"}),
    ],
)
def test_an_edit_to_what_does_not_measure_leaves_the_results(finished, name, again):
    assert set(planned_after_an_edit(finished, name)) - {"all", "default"} == again
