"""The settings that `make test-fresh` takes into a fresh root, and those that it leaves out."""

from tests.fresh.__main__ import ROOT, packages
from tests.fresh.registry import variables

CONFIG = """[global]
index-url = https://mirror/simple
extra-index-url = file:///opt/simple https://other/simple
find-links = /opt/wheels
cert = /etc/ssl/own.pem
no-cache-dir = true
[list]
format = columns
"""


def test_only_what_reaches_a_registry_is_kept(tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text(CONFIG)
    environ = {
        "HOME": "/home/me",
        "PYTHONPATH": "/home/me/workflow",
        "PIP_FIND_LINKS": "/opt/wheels",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_INDEX_URL": "https://nearer/simple",
        "UV_INDEX_URL": "https://nearer/simple",
        "UV_PYTHON": "3.12",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
    }
    assert variables(environ, (str(config),)) == {
        "PIP_INDEX_URL": "https://nearer/simple",
        "PIP_EXTRA_INDEX_URL": "https://other/simple",
        "PIP_CERT": "/etc/ssl/own.pem",
        "UV_INDEX_URL": "https://nearer/simple",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
    }


def test_the_readmes_packages_are_read_from_it():
    names = packages((ROOT / "README.md").read_text())
    assert {"make", "git", "python3", "python3-venv"} <= {*names}
