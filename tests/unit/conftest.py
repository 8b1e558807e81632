"""Hosts of all sizes, and pages without their drawings."""

import os

import pytest
from tests.unit.pages import undrawn

from mls.config.sections.pin import write_cpus
from mls.host import machine, pinning


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A function that makes this a host with `cores` cores of `threads` threads each.

    CPUs are numbered as Linux numbers them. usable: the number of usable cores by a quota.
    nodes: the cores of each NUMA node; empty where the kernel lists no nodes.
    """

    def make(cores, threads=1, usable=None, nodes=()):
        cpus = range(cores * threads)
        for cpu in cpus:
            file = tmp_path / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list"
            file.parent.mkdir(parents=True)
            file.write_text(",".join(str(other) for other in cpus if other % cores == cpu % cores))
        for number, its in enumerate(nodes):
            file = tmp_path / "node" / f"node{number}" / "cpulist"
            file.parent.mkdir(parents=True)
            file.write_text(write_cpus(cpu for cpu in cpus if cpu % cores in its) + "\n")
        monkeypatch.setattr(machine, "_CPU", tmp_path / "cpu")
        monkeypatch.setattr(machine, "_NODES", tmp_path / "node")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(cpus))
        monkeypatch.setattr(pinning, "usable_cores", lambda: usable or cores)

    return make


@pytest.fixture(scope="module")
def blank_drawings():
    """Pages of this module have blank drawings."""
    with undrawn():
        yield
