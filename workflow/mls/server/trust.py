"""Which TLS certificates are trusted: the same ones by the control plane and both transports."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from mls.core.errors import UserError

_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def tls_context() -> ssl.SSLContext:
    """Trusts what the system and `requests` trust, and what the environment names besides.

    Raises `UserError` when a variable names what is not there, or no certificates.
    """
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
        except OSError as error:  # ssl.SSLError is one
            raise UserError(
                f"{name}: {path} can't be read as certificates ({error.strerror or error}); name "
                "a PEM file, or unset the variable."
            ) from None
    return context


class TrustingAdapter(HTTPAdapter):
    """An adapter of `requests` that uses a context of ours, through a proxy too."""

    def __init__(self, context: ssl.SSLContext | None, **options: Any) -> None:
        """context: None where no connection has TLS."""
        self._context = context
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has all certificates; loading them again would be part of each connection's time."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            return
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None
