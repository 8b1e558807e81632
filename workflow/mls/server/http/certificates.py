"""The TLS certificates that the control plane and both transports trust."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from mls.core.errors import UserError

_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def tls_context() -> ssl.SSLContext:
    """A context that trusts the certificates of the system, of `requests` and of the environment.

    Raises `UserError` when a variable names a file that is missing or holds no certificates.
    """
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # A rank without TLS need not import it

    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    for name in _VARIABLES:
        path = os.environ.get(name)
        if not path:
            continue
        try:
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except OSError as error:  # Includes ssl.SSLError
            raise UserError(
                f"{name}: {path} can't be read as certificates ({error.strerror or error}); name "
                "a PEM file, or unset the variable."
            ) from None
    return context
