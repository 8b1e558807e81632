"""This machine's settings for reaching a package registry, and no others.

pip's own settings become environment variables. Folders of this machine (find-links, an index of
files) are left out: a fresh machine has none.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PIP = "index_url extra_index_url find_links trusted_host proxy cert client_cert timeout retries"
_PIP_VARIABLES = [f"PIP_{name.upper()}" for name in [*_PIP.split(), "default_timeout"]]
_OTHERS = re.compile(
    r"(?i:(http|https|ftp|all|no)_proxy)"
    r"|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|UV_(\w*INDEX\w*|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|HTTP_TIMEOUT)"
)
_FILES = ("PIP_CERT", "PIP_CLIENT_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PIP_CONFIGS = (
    "/etc/xdg/pip/pip.conf",
    "/etc/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
)


def variables(
    environ: Mapping[str, str] = os.environ, configs: tuple[str, ...] = _PIP_CONFIGS
) -> dict[str, str]:
    """The environment variables, with the settings of pip's configuration files among them."""
    settings = {}
    for path in filter(None, (*configs, environ.get("PIP_CONFIG_FILE"))):
        parser = configparser.RawConfigParser()
        parser.read(Path(path).expanduser())
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {
                    f"PIP_{k.replace('-', '_').upper()}": v for k, v in parser.items(section)
                }
    settings |= environ
    selection = {name: value for name, value in settings.items() if name in _PIP_VARIABLES}
    for name in selection.keys() - {*_FILES}:
        selection[name] = " ".join(word for word in selection[name].split() if not _is_local(word))
    selection |= {name: value for name, value in environ.items() if _OTHERS.fullmatch(name)}
    return {name: value for name, value in selection.items() if value}


def certificates() -> list[Path]:
    """The files of certificates that these variables name."""
    paths = {Path(value) for name, value in variables().items() if name in _FILES}
    return sorted(path for path in paths if path.is_file())


def apt_settings() -> str:
    """This machine's apt settings for the way to a mirror."""
    command = ["apt-config", "dump"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^Acquire::https?::(?:[^ ]+::)?Proxy .*$", output, re.M)
    return "".join(f"{line}\n" for line in lines)


def _is_local(word: str) -> bool:
    return word.startswith(("/", "~", ".", "file:"))
