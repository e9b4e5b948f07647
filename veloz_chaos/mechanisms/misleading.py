"""A name server in the target's network namespace that answers some questions wrongly, and passes the others on.

    python -m veloz_chaos.mechanisms.misleading SERVER MARK EFFECT

It listens on a port of 127.0.0.1 by UDP and TCP, says which on stdout, and ends with its stdin. Rules send the target's
questions there; its own carry the mark that exempts them. A made-up answer carries no SOA, so that nobody caches it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import suppress

import dns.exception
import dns.message
import dns.rcode

from veloz_chaos.core.effect import DnsEffect

#: Seconds that the real server has; bytes of the longest message.
PATIENCE, LONGEST = 5.0, 65_535
_SO_MARK = 36


class Misleading:
    def __init__(self, server: tuple[str, int], mark: int, effect: DnsEffect) -> None:
        self._server, self._mark, self._effect = server, mark, effect

    def serve(self) -> int:
        """Listens, in threads of its own; the port."""
        stream, datagrams = listening()
        threading.Thread(target=self._streams, args=(stream,), daemon=True).start()
        threading.Thread(target=self._datagrams, args=(datagrams,), daemon=True).start()
        return int(stream.getsockname()[1])

    def _datagrams(self, ours: socket.socket) -> None:
        while True:
            data, sender = ours.recvfrom(LONGEST)
            threading.Thread(target=self._datagram, args=(ours, data, sender), daemon=True).start()

    def _datagram(self, ours: socket.socket, data: bytes, sender: tuple[str, int]) -> None:
        with suppress(OSError):
            answer = wrong(data, self._effect)
            if answer is None:
                with self._asking(socket.SOCK_DGRAM) as upstream:
                    upstream.send(data)
                    answer = upstream.recv(LONGEST)
            if answer:
                ours.sendto(answer, sender)

    def _streams(self, ours: socket.socket) -> None:
        while True:
            connection, _ = ours.accept()
            threading.Thread(target=self._stream, args=(connection,), daemon=True).start()

    def _stream(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while data := _message(connection):
                answer = wrong(data, self._effect)
                if answer is None:
                    with self._asking(socket.SOCK_STREAM) as upstream:
                        upstream.sendall(len(data).to_bytes(2, "big") + data)
                        answer = _message(upstream)
                if not answer:
                    connection.recv(1)  # silent until the other side gives up
                    return
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _asking(self, kind: socket.SocketKind) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self._server[0] else socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, _SO_MARK, self._mark)
        made.settimeout(PATIENCE)
        made.connect(self._server)
        return made


def wrong(data: bytes, effect: DnsEffect) -> bytes | None:
    """The answer that the effect has for a question; empty for silence; None if it has nothing to do with it."""
    try:
        question = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if not question.question or not effect.covers(question.question[0].name.to_text()):
        return None
    if effect.answer == "none":
        return b""
    answer = dns.message.make_response(question, recursion_available=True)
    answer.set_rcode(dns.rcode.from_text(effect.answer))
    return answer.to_wire()


def listening() -> tuple[socket.socket, socket.socket]:
    """The same port for both."""
    for _ in range(20):
        stream = socket.create_server(("127.0.0.1", 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagrams.close()
            continue
        return stream, datagrams
    raise OSError("no port is free for both UDP and TCP")


def _message(connection: socket.socket) -> bytes:
    """Empty at the end of the stream."""
    length = _exactly(connection, 2)
    return _exactly(connection, int.from_bytes(length, "big")) if length else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def main(arguments: list[str]) -> None:
    server, mark, effect = arguments[1:4]
    port = Misleading((server, 53), int(mark), DnsEffect(**json.loads(effect))).serve()
    os.write(1, f"{port}\n".encode())
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    main(sys.argv)
