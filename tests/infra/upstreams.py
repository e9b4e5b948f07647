"""What stands behind a link in tests: small HTTP, line-protocol and name servers, as threads of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, StreamRequestHandler, TCPServer, ThreadingTCPServer, ThreadingUDPServer

import dns.message
import dns.name
import dns.rcode
import dns.rrset

BODY = b"x" * 400
Upstream = Callable[[], AbstractContextManager[str]]


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Pong(StreamRequestHandler):
    """PING → PONG and some ballast."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.replace(b"PING", b"PONG " + BODY))


class LineServer(ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A reset connection is what these tests are about."""


class HttpServer(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A reset connection is what these tests are about."""


@contextmanager
def http() -> Iterator[str]:
    with served(HttpServer(("127.0.0.1", 0), Hello)) as address:
        yield address


@contextmanager
def line() -> Iterator[str]:
    with served(LineServer(("127.0.0.1", 0), Pong)) as address:
        yield address


@contextmanager
def served(server: TCPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Names(BaseRequestHandler):
    """A name server of one name: everything below `rig.test` is at 127.0.0.1."""

    def handle(self) -> None:
        data, connection = self.request
        question = dns.message.from_wire(data)
        answer, name = dns.message.make_response(question), question.question[0].name
        if name.is_subdomain(dns.name.from_text("rig.test")):
            answer.answer.append(dns.rrset.from_text(name, 1, "IN", "A", "127.0.0.1"))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        connection.sendto(answer.to_wire(), self.client_address)


@contextmanager
def names() -> Iterator[str]:
    with served(ThreadingUDPServer(("127.0.0.1", 0), Names)) as address:
        yield address
