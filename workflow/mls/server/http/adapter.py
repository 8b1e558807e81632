"""The adapter by which `requests` trusts our TLS certificates."""

from __future__ import annotations

import ssl
from typing import Any

from requests.adapters import HTTPAdapter


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
