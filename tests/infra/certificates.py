"""A certificate authority of the test's own and a server of localhost that it vouches for, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from functools import partial
from pathlib import Path


def make(folder: Path) -> Path:
    """The folder: ca.pem, and key.pem and cert.pem signed by it."""
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl = partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    openssl([*new, "/CN=a CA", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"])
    openssl([*new, "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"])
    signed = ["openssl", "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl([*signed, "-days", "2", "-extfile", "names", "-out", "cert.pem"])
    return folder


def server_side(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
