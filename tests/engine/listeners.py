"""Somebody who is told of a run: a real HTTP server that listens well, or badly."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.infra.upstreams import HttpServer

Manner = Literal["listens", "hangs", "trickles", "fails", "redirects", "babbles", "drops"]


@dataclass
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Listener:
    manner: Manner = "listens"
    heard: list[Heard] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def listening(manner: Manner = "listens", tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    listener = Listener(manner)
    server = HttpServer(("127.0.0.1", 0), _handler(listener))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    listener.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listener
    finally:
        listener.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(listener: Listener) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            listener.heard.append(Heard(self.command, self.path, dict(self.headers), body))
            getattr(self, f"_{listener.manner}")()

        do_POST = do_PATCH = do_GET = _take

        def _answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _listens(self) -> None:
            self._answer(200, b'{"id": 7, "message": "Annotation added"}')

        def _hangs(self) -> None:
            listener.over.wait(60)

        def _trickles(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not listener.over.wait(0.5):
                self.wfile.write(b"x")
                self.wfile.flush()

        def _fails(self) -> None:
            self._answer(500, f"\x1b[31mno {self.headers.get('Authorization', '')}".encode())

        def _redirects(self) -> None:
            self._answer(302, b"", Location="/elsewhere")

        def _babbles(self) -> None:
            self._answer(200, b"\xff\xfe not json at all")

        def _drops(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
