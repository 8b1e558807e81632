"""Certificates of servers that speak TLS."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A self-signed certificate for `name`: (the server's TLS context, the certificate's file)."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-keyout", key, "-out", cert, "-days", "2", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert
