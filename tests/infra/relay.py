"""Stands between a client and the engine's socket, as a process that can be killed, stopped, or speak TLS.

python relay.py LISTEN ENGINE [CERTIFICATE KEY CA]     LISTEN: a path, or a port on 127.0.0.1
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
from contextlib import suppress


def main(listen: str, engine: str, *files: str) -> None:
    listener = (
        socket.create_server(("127.0.0.1", int(listen)))
        if listen.isdigit()
        else socket.create_server(listen, family=socket.AF_UNIX)
    )
    secure = _tls(*files) if files else None
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, engine, secure), daemon=True).start()


def _tls(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """Only who has a certificate of the same authority is let in, as dockerd --tlsverify does."""
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    secure.load_cert_chain(certificate, key)
    secure.verify_mode = ssl.CERT_REQUIRED
    return secure


def _serve(client: socket.socket, engine: str, secure: ssl.SSLContext | None) -> None:
    """One thread for both ways: a TLS connection bears no more."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as upstream:
        if secure:
            client = secure.wrap_socket(client, server_side=True)
        upstream.connect(engine)
        with client:
            while _pass(client, upstream):
                pass


def _pass(client: socket.socket, upstream: socket.socket) -> bool:
    """False at the end of either. TLS may hold what the kernel no longer has."""
    pending = isinstance(client, ssl.SSLSocket) and client.pending()
    ready: list[socket.socket] = [client] if pending else select.select([client, upstream], [], [])[0]
    for source in ready:
        piece = source.recv(65536)
        if not piece:
            return False
        (upstream if source is client else client).sendall(piece)
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
