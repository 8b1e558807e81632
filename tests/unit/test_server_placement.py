"""The CPUs and cards of a fleet's servers."""

import json
from pathlib import Path

import pytest
import xllamacpp
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.pin import read_cpus
from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.gpu.inventory import visible_cards
from mls.host import machine
from mls.server.engine import placement
from mls.server.engine.command import engine
from mls.server.engine.placement import Place, places
from mls.server.engine.xllamacpp import assign

MODEL = Path("/models/m.gguf")
ON_CARDS = {"fleet": "gpus", "gpu_layers": -1}


def test_one_server_has_what_all_have():
    assert places(Server()) == [Place()]
    assert places(Server(), frozenset({1, 2})) == [Place(frozenset({1, 2}))]


def test_a_number_of_servers_share_the_cores(host):
    host(8, threads=2)
    assert places(Server(fleet=3)) == [
        Place(read_cpus(text)) for text in ("0-1,8-9", "2-4,10-12", "5-7,13-15")
    ]
    assert places(Server(fleet=2), read_cpus("0-3,8-11")) == [
        Place(read_cpus("0-1,8-9")),
        Place(read_cpus("2-3,10-11")),
    ]


@given(st.integers(1, 40), st.integers(2, 40))
def test_no_two_servers_share_a_cpu_and_none_is_left_over(cores, count):
    cpus = frozenset(range(cores))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            placement, "cores", lambda cpu_sets: [frozenset({cpu}) for cpu in sorted(cpu_sets)]
        )
        if cores < count:
            with pytest.raises(UserError, match=f"{count} servers need a core each.* {cores} for"):
                places(Server(fleet=count), cpus)
            return
        cpu_sets = [place.cpus for place in places(Server(fleet=count), cpus)]
    assert len(cpu_sets) == count and frozenset().union(*cpu_sets) == cpus
    assert sum(map(len, cpu_sets)) == cores
    assert max(map(len, cpu_sets)) - min(map(len, cpu_sets)) <= 1


def test_one_for_each_numa_node_with_memory_of_its_own(host):
    host(8, threads=2, nodes=[range(4), range(4, 8), []])
    servers = places(Server(fleet="numa"))
    assert [place.cpus for place in servers] == [read_cpus("0-3,8-11"), read_cpus("4-7,12-15")]
    assert all(place.own_memory for place in servers)
    # the ranks have the last cores
    assert places(Server(fleet="numa"), read_cpus("0-5"))[1].cpus == read_cpus("4-5")


def test_a_host_that_tells_of_no_nodes_is_one(host):
    host(4)
    assert [place.cpus for place in places(Server(fleet="numa"))] == [read_cpus("0-3")]


def test_the_nodes_of_this_very_host_have_all_its_cpus():
    allowed = {*range(1024)}
    nodes = machine.numa_nodes(allowed)
    assert frozenset().union(*nodes) <= allowed
    assert sum(map(len, nodes)) == len(frozenset().union(*nodes))


def test_one_for_each_card_and_its_share_of_the_cores(host, monkeypatch):
    host(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
    servers = places(Server(**ON_CARDS))
    assert servers == [Place(read_cpus("0-3"), "GPU-a"), Place(read_cpus("4-7"), "GPU-b")]
    assert engine(Server(), MODEL, "m", 1, servers[1]).env["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    assert servers[1].record() == {"cpus": "4-7", "card": "GPU-b"}


def test_more_cards_than_cores_are_not_pinned(host, monkeypatch):
    host(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert places(Server(**ON_CARDS)) == [Place(None, card) for card in "012"]


def test_no_card_is_one_sentence(host, monkeypatch):
    host(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_cards() == []
    with pytest.raises(UserError, match=r"server\.fleet: gpus was asked for, but no card"):
        places(Server(**ON_CARDS))


def test_a_server_computes_with_the_cores_that_it_is_kept_on(host, tmp_path):
    host(8)
    binary = tmp_path / "llama-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    place = Place(read_cpus("0-2"), own_memory=True)
    attributes = json.loads(engine(Server(), MODEL, "m", 1, place).stdin)["attributes"]
    parameters = xllamacpp.CommonParams()
    for name, value in attributes.items():
        assign(parameters, name, value)
    assert parameters.cpuparams.n_threads == 3
    assert parameters.load_mode == xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    server = Server(engine="llama-server", binary=str(binary))
    at_place, anywhere = engine(server, MODEL, "m", 1, place), engine(server, MODEL, "m", 1)
    assert at_place.argv[at_place.argv.index("--threads") + 1] == "3"
    assert at_place.env["LLAMA_ARG_LOAD_MODE"] == "none"
    assert "LLAMA_ARG_LOAD_MODE" not in anywhere.env


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"fleet": 2, "url": "http://h"}, "`fleet` is of servers that are started here"),
        ({"fleet": "gpus"}, "`fleet: gpus` needs `gpu_layers`"),
        (ON_CARDS | {"tensor_split": "1,1"}, "leave `tensor_split` out"),
        ({"fleet": 0}, "expected a whole number from 1 to 256, or gpus or numa"),
        ({"policy": "sticky"}, "`policy` goes with several `urls`, or a `fleet`"),
    ],
)
def test_what_contradicts_itself_is_one_sentence(keys, words):
    with pytest.raises(ValueError, match=words):
        Server(**keys)
