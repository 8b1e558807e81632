"""The TLS certificates that the control plane and both transports trust."""

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
    """A context that trusts the certificates of the system, of `requests` and of the environment.

    Raises `UserError` when a variable names a file that is missing or holds no certificates.
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
        except OSError as error:  # Includes ssl.SSLError
            raise UserError(
                f"{name}: {path} can't be read as certificates ({error.strerror or error}); name "
                "a PEM file, or unset the variable."
            ) from None
    return context


class TrustingAdapter(HTTPAdapter):
    """An adapter of `requests` with a given TLS context, for proxies as well."""

    def __init__(self, context: ssl.SSLContext | None, **options: Any) -> None:
        """context: None for connections without TLS."""
        self._context = context
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Use the context's certificates: loading them anew would cost each connection time."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            return
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None
