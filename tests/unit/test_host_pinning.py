"""The CPUs of server and ranks: `auto` on hosts of all sizes, and the config's own lists."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.parse import parse_config
from mls.config.sections.pin import Pin, read_cpus, write_cpus
from mls.core.errors import UserError
from mls.host import pinning
from mls.host.pinning import CpuSets, choose
from mls.report.text.plan import pin_words


@given(st.frozensets(st.integers(0, 300), min_size=1))
def test_a_list_of_cpus_is_read_as_it_is_written(cpus):
    assert read_cpus(write_cpus(cpus)) == cpus


def test_lists_of_cpus_are_written_as_the_kernel_does():
    assert write_cpus({3, 0, 1, 2, 8, 10}) == "0-3,8,10"


def test_auto_gives_each_rank_a_whole_core_and_the_server_the_others(host):
    host(8, threads=2)
    choice = choose(Pin(), ranks=2, managed=True)
    assert choice == CpuSets(
        frozenset({0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13}), read_cpus("6-7,14-15")
    )


@given(st.integers(1, 64), st.integers(1, 20))
def test_auto_takes_no_more_than_a_quarter(cores, ranks):
    whole = frozenset(range(cores))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(whole))
        patch.setattr(pinning, "usable_cores", lambda: cores)
        patch.setattr(pinning, "cores", lambda cpus: [frozenset({cpu}) for cpu in sorted(cpus)])
        choice = choose(Pin(), ranks, managed=True)
    if choice.ranks:
        assert len(choice.ranks) == ranks <= cores / 4
        assert choice.server == whole - choice.ranks and choice.why is None
    else:
        assert choice.server is None and 4 * ranks > cores
        assert f"there are {cores}" in choice.why


def test_two_cores_are_left_to_both_of_them(host):
    host(2)
    choice = choose(Pin(), ranks=2, managed=True)
    assert (choice.server, choice.ranks) == (None, None)
    assert choice.why == "with 2 ranks that takes 8 cores, and there are 2"


def test_a_quota_is_not_a_set_of_cores(host):
    host(16, usable=8)
    assert "quota" in choose(Pin(), ranks=1, managed=True).why


def test_a_server_of_the_users_is_not_ours_to_pin(host):
    host(16)
    assert "not ours" in choose(Pin(), ranks=1, managed=False).why
    assert choose(Pin(ranks="3"), 1, managed=False) == CpuSets(None, frozenset({3}))
    with pytest.raises(UserError, match=r"pin\.server.*not ours.*taskset"):
        choose(Pin(server="3"), 1, managed=False)


@pytest.mark.parametrize(
    ("pin", "server", "ranks"),
    [
        ({"ranks": "7"}, "0-6", "7"),
        ({"server": "0-3"}, "0-3", "4-7"),
        ({"server": "0-3", "ranks": "6"}, "0-3", "6"),
        ({"server": "0-3", "ranks": "off"}, "0-3", None),
        ({"server": "off", "ranks": "6"}, None, "6"),
        ({"server": "off", "ranks": "off"}, None, None),
        ({"server": "off"}, None, None),
    ],
)
def test_what_is_given_leaves_the_others_to_the_other_side(host, pin, server, ranks):
    host(8)
    choice = choose(Pin(**pin), ranks=1, managed=True)
    assert choice.server == (server and read_cpus(server))
    assert choice.ranks == (ranks and read_cpus(ranks))
    assert (choice.why is None) == bool(server or ranks)


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        ({"ranks": "7-8"}, "pin.ranks: CPU 8 is not among those that may be used here, 0-7"),
        ({"server": "0-3", "ranks": "3-4"}, "pin.server and pin.ranks: both have CPU 3"),
        ({"ranks": "0-7"}, "pin.server: the other side has all CPUs"),
        ({"server": "0-7"}, "pin.ranks: the other side has all CPUs"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(host, pin, words):
    host(8)
    with pytest.raises(UserError, match=words):
        choose(Pin(**pin), ranks=1, managed=True)


@pytest.mark.parametrize(("text", "value"), [(False, "off"), (3, "3"), ("0-3,8", "0-3,8")])
def test_what_yaml_makes_of_it_is_understood(text, value):
    assert parse_config({"models": {"m": {}}, "pin": {"ranks": text}}).pin.ranks == value


@pytest.mark.parametrize("text", ["on", "3-1", "a", "", True, "1-2-3", "-1", 1.5])
def test_what_is_no_list_of_cpus_is_refused(text):
    with pytest.raises(UserError, match=r"pin\.ranks"):
        parse_config({"models": {"m": {}}, "pin": {"ranks": text}})


def test_the_page_says_who_ran_where():
    assert pin_words({"server": "0-5", "ranks": "6", "why": None}) == (
        "The server ran on CPUs 0-5 of the host, the ranks on CPUs 6."
    )
    assert "ranks were not pinned" in pin_words({"server": "0-5", "ranks": None, "why": None})
    assert "there are 2" in pin_words({"server": None, "ranks": None, "why": "there are 2"})
