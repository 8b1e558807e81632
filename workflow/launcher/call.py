"""Checks of a call of `make report`, by nothing but the standard library.

They come before anything is installed: `python3 workflow/launcher/call.py --cores 2 --config FILE`.
A server that isn't there is one of them.
"""

from __future__ import annotations

import argparse
import http.client
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

SERVER_TIMEOUT_S = 5


def parser() -> argparse.ArgumentParser:
    """The options that make passes on; an empty value stands for none."""
    options = argparse.ArgumentParser(prog="make report", allow_abbrev=False)
    options.add_argument("--cores", default="all")
    options.add_argument("--config", default="")
    options.add_argument("--server", default="")
    options.add_argument("--model", default="")
    options.add_argument("--key-env", default="")
    options.add_argument("--profile", default="")
    options.add_argument("--verbose", default="")
    return options


def problem(options: argparse.Namespace) -> str | None:
    """What is wrong with the call, in one sentence; None when nothing is."""
    return (
        _cores(options.cores)
        or (_config(Path(options.config)) if options.config else None)
        or _own_server(options)
    )


def _cores(text: str) -> str | None:
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return None
    return f"CORES={text}: expected a whole number from 1, or all."


def _config(path: Path) -> str | None:
    if path.is_dir():
        return f"CONFIG={path} is a folder: give a file in it, such as config/config.yaml."
    if not path.exists():
        return f"CONFIG={path}: there is no such file; ready ones are in config/sweeps."
    if not os.access(path, os.R_OK):
        return f"CONFIG={path} can't be read: allow it (chmod u+r), or give another file."
    return None


def _own_server(options: argparse.Namespace) -> str | None:
    if not options.server:
        if options.model or options.key_env:
            return "MODEL and KEY_ENV go with SERVER=URL; a config has its own (models, server.api_key_env)."
        return None
    if options.config:
        return "Give SERVER or CONFIG, not both: the config's own server is server.url."
    if options.key_env and not os.environ.get(options.key_env):
        name = options.key_env
        return f"KEY_ENV={name}: this environment variable is not set; export {name}=… first."
    if options.server.startswith("http+unix:"):
        return None
    if not options.server.startswith(("http://", "https://")):
        return f"SERVER={options.server}: expected a URL such as http://127.0.0.1:8080."
    why = _absent(options.server)
    return (
        why
        and f"SERVER={options.server} can't be reached: {why}; start it, or check host and port."
    )


def _absent(url: str) -> str | None:
    """Why nothing speaks HTTP at this URL; None when something does, whatever it says."""
    # straight, as the load goes
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{url.rstrip('/')}/v1/models", timeout=SERVER_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            return None  # the probe says what to do about it
        return str(getattr(error.reason, "strerror", None) or error.reason).lower()
    except TimeoutError:
        return f"no answer within {SERVER_TIMEOUT_S} s"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def main(arguments: Sequence[str]) -> int:
    """Print the problem, if there is one. Returns the exit status."""
    sentence = problem(parser().parse_args(arguments))
    if sentence:
        print(sentence, file=sys.stderr)
    return int(sentence is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
