"""`quiet_host` beside a server that mls didn't start: CPU time of that server is not others'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verdicts import IDLE, QUIET

from mls.analysis.checks.machine.quiet_host import others, quiet_host
from mls.analysis.repeat.evidence import Evidence
from mls.config.sections.checks import Checks

URL = "http://127.0.0.1:8090"
ALL_S = QUIET["all_s"] - IDLE["all_s"]
OURS_S = 2.0


def record(busy_s, servers_s, perhaps_s=0.0, hidden=None, who=None):
    """The record of a host with so many busy seconds, 2 s of this run and the server's among them.

    perhaps_s: CPU time that may be the server's; None where that is unknown.
    """
    before = IDLE | {"servers_s": 50.0, "perhaps_s": 7.0 if perhaps_s is not None else None}
    after = QUIET | {
        "busy_s": IDLE["busy_s"] + busy_s,
        "ours_s": IDLE["ours_s"] + OURS_S,
        "servers_s": 50.0 + servers_s,
        "perhaps_s": None if perhaps_s is None else 7.0 + perhaps_s,
    }
    listener = {
        "url": URL,
        "processes": ["llama-server 20"],
        "perhaps_below": ["launcher 19"],
        "hidden": hidden,
        "who": who,
    }
    return {"server": "local", "before": before, "after": after, "listeners": [listener]}


def verdict_on(*args, **more):
    return quiet_host(Evidence(None, None, None, Checks(), host=record(*args, **more)))


def test_a_busy_server_leaves_its_host_quiet():
    verdict = verdict_on(18.0, servers_s=15.6)
    assert (verdict.status, verdict.measured) == ("pass", pytest.approx(0.02))


def test_other_work_beside_a_server_fails():
    verdict = verdict_on(19.9, servers_s=4.0)
    assert (verdict.status, verdict.measured) == ("fail", pytest.approx(0.695))
    assert verdict.message.startswith(
        "Other processes used 69.5% of the host's CPU time, more than"
    )


def test_what_may_be_the_servers_leaves_it_unknown_only_where_it_decides():
    verdict = verdict_on(18.0, servers_s=3.0, perhaps_s=12.0)
    assert (verdict.status, verdict.measured) == ("unknown", None)
    assert "below launcher 19" in verdict.message and "setsid" in verdict.message
    verdict = verdict_on(18.0, servers_s=3.0, perhaps_s=8.0)
    assert (verdict.status, verdict.measured) == ("fail", pytest.approx(0.25))
    assert "at least 25.0%" in verdict.message
    verdict = verdict_on(6.0, servers_s=3.0, perhaps_s=0.5)
    assert (verdict.status, verdict.measured) == ("pass", pytest.approx(0.05))
    assert "at most 5.0%" in verdict.message


@pytest.mark.parametrize(
    ("hidden", "who", "words"),
    [
        ("other user", "alice", "belongs to alice, whose processes can't be looked into; run mls as"),
        ("passed on", "docker-proxy", "listens docker-proxy, which passes requests on"),
        ("nobody", None, "no process of this host's network listens at"),
        ("ended", None, "one has ended meanwhile"),
        ("not told", None, "doesn't tell who listens"),
    ],
)  # fmt: skip
def test_a_server_whose_processes_are_not_known_says_why(hidden, who, words):
    verdict = verdict_on(18.0, servers_s=0.1, perhaps_s=None, hidden=hidden, who=who)
    assert (verdict.status, verdict.measured) == ("unknown", None)
    assert words in verdict.message and verdict.message.count(". ") == 0
    # whoever used it, it is little
    verdict = verdict_on(3.9, servers_s=0.1, perhaps_s=None, hidden=hidden, who=who)
    assert (verdict.status, verdict.measured) == ("pass", pytest.approx(0.09))


times = st.floats(0, 20)


@given(busy_s=times, servers_s=times, perhaps_s=times | st.none(), truly=st.floats(0, 1))
def test_the_verdict_holds_whosever_the_doubtful_part_is(busy_s, servers_s, perhaps_s, truly):
    host = record(busy_s, servers_s, perhaps_s)
    (status, _), share = others(host, 0.1)
    most = max(0.0, busy_s - OURS_S - servers_s)
    doubtful = most if perhaps_s is None else min(perhaps_s, most)
    true_share = (most - truly * doubtful) / ALL_S
    if status == "pass":
        assert true_share <= 0.1 + 1e-9
    elif status == "fail":
        assert true_share > 0.1 - 1e-9
    else:
        assert share is None
