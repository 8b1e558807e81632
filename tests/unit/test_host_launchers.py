"""Command lines for several hosts, and the sentences about hosts that can't be used."""

import shlex
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mls.config.config import Mpi
from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.host.address import reachable_address
from mls.host.launch.launchers import LAUNCHERS, command, hosts
from mls.host.launch.programs import mpi_environment

NAMES = ["node-1", "node-2.cluster", "10.1.2.3"]


def test_one_host_is_the_users_own_command():
    assert command(Mpi(launcher="srun --mpi=pmix")) == "srun --mpi=pmix"
    assert hosts(Mpi()) == []


def test_mpich():
    words = command(Mpi(hosts=NAMES))
    assert words == "mpirun -localhost node-1 -hosts node-1,node-2.cluster,10.1.2.3"


def test_open_mpi():
    words = command(Mpi(launcher="/opt/mpi/bin/mpirun --tag-output", hosts=NAMES, family="openmpi"))
    assert words == (
        "/opt/mpi/bin/mpirun --tag-output --map-by node:oversubscribe -x PATH -x PYTHONPATH "
        "--host node-1,node-2.cluster,10.1.2.3"
    )


@pytest.mark.parametrize("family", LAUNCHERS)
def test_no_launcher_is_taken_for_one_of_this_host_alone(family):
    variables = mpi_environment(command(Mpi(hosts=NAMES, family=family)), {})
    assert "OMPI_MCA_btl" not in variables
    # without a value Open MPI warns of `-x PYTHONPATH`
    assert variables["PYTHONPATH"] == ""


@pytest.mark.parametrize("family", LAUNCHERS)
@given(agent=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@example(agent="PATH")  # a word of the command already
def test_an_agent_of_any_name_is_one_word(family, agent):
    words = shlex.split(command(Mpi(hosts=NAMES, family=family, agent=agent)))
    plain = shlex.split(command(Mpi(hosts=NAMES, family=family, agent="an-agent")))
    assert words == [agent if word == "an-agent" else word for word in plain]
    assert "an-agent" in plain


@pytest.mark.parametrize("family", LAUNCHERS)
def test_hostfile(family, tmp_path):
    path = tmp_path / "my nodes"
    path.write_text("# mine\nnode-1 slots=2\nnode-2:4 # the fast one\n\n")
    mpi = Mpi(hostfile=str(path), family=family)
    assert hosts(mpi) == ["node-1", "node-2"]
    words = shlex.split(command(mpi))
    assert str(path) in words and "node-2" not in " ".join(words)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "can't be read"), ("# none\n", "names no host")]
)
def test_hostfile_that_says_nothing(text, words, tmp_path):
    path = tmp_path / "nodes"
    if text:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"^mpi\.hostfile: .*{words}"):
        command(Mpi(hostfile=str(path)))


@pytest.mark.parametrize(
    ("mpi", "words"),
    [
        ({"hosts": ["a"], "hostfile": "nodes"}, "`hosts` or `hostfile`, not both"),
        ({"agent": "rsh"}, "`agent` goes with `hosts`"),
        ({"hosts": ["a; rm -rf /"]}, r"mpi\.hosts"),
        ({"hosts": ["-bad"]}, r"mpi\.hosts"),
        ({"family": "other"}, r"mpi\.family"),
    ],
)
def test_what_the_config_refuses(mpi, words):
    with pytest.raises(UserError, match=words):
        parse_config({"models": {"m": {"path": "m.gguf"}}, "mpi": mpi})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("localhost", "other hosts can't reach"),
        ("127.0.1.1", "other hosts can't reach"),
        ("192.0.2.1", "is not this host"),  # reserved for documentation (RFC 5737)
        ("no-such-host.invalid", "has no IPv4 address"),
    ],
)
def test_first_host_that_is_none_for_the_others(name, words):
    with pytest.raises(UserError, match=rf"^mpi\.hosts: {name} .*{words}"):
        reachable_address(name)


def test_a_server_of_our_own_listens_where_all_hosts_reach_it(monkeypatch, tmp_path):
    """A stand-in for `reachable_address` returns a name: this host may have loopback alone."""
    monkeypatch.setattr("mls.commands.serve.reachable_address", lambda first, key: f"{key} {first}")
    from mls.commands.serve import _reachable

    config = parse_config({"models": {"m": {"path": "m"}}, "mpi": {"hosts": ["near", "far"]}})
    assert _reachable(config, config.server).host == "mpi.hosts near"
    server = config.server.model_copy(update={"host": "10.0.0.1"})
    assert _reachable(config, server).host == "10.0.0.1"
    alone = parse_config({"models": {"m": {"path": "m"}}})
    assert _reachable(alone, alone.server).host is None


def test_own_address():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            trial.connect(("192.0.2.1", 9))  # sends nothing: it picks the address
            own = trial.getsockname()[0]
    except OSError:
        pytest.skip("this host has no address but loopback")
    assert reachable_address(own) == own
