"""A tiny gateway, and the exchange behind it, that accept orders, refuse them, stall, drop connections or die; it may
want a token to be shown."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.infra.upstreams import HttpServer

PASSWORD = "open-sesame"

Mode = Literal["accepts", "refuses", "ok-false", "drops", "stalls"]


@dataclass
class Gateway:
    """`orders` is what both sides hold; a stalled request is worked off when `go` is set."""

    mode: Mode = "accepts"
    orders: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    #: so many seconds a token lasts; None: nobody needs one
    guarded: float | None = None
    #: it gives no token any more
    locked: bool = False
    #: token -> its end
    tokens: dict[str, float] = field(default_factory=dict)
    logins: int = 0
    unauthorized: int = 0
    #: side -> what it reads instead
    lies: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = HttpServer(("127.0.0.1", 0), _handler(self))
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def die(self) -> None:
        """As a killed process would: every connection ends, none is taken any more."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.go.set()
        self.die()
        self._thread.join()

    @property
    def open(self) -> list[str]:
        return [name for name, order in list(self.orders.items()) if order["state"] == "NEW"]

    def workload(self, **changes: Any) -> dict[str, Any]:
        listed = "json.orders.map(o, {'id': o.id, 'state': o.state, 'qty': o.qty, 'filled': '0'})"
        order = {"id": "${id}", "side": "${side}", "symbol": "${symbol}", "qty": "${qty}", "price": "${price}"}
        base: dict[str, Any] = {
            "rate": "100/s",
            "timeout": "1s",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "prices": {"BTCUSDT": {"BUY": "1000", "SELL": "900000"}, "ETHUSDT": {"BUY": "10"}},
            "place": {
                "http": {"post": self.url + "/order", "json": order},
                "accepted": "status == 200 && json.ok",
                "refused": "status == 200 && !json.ok || status == 503",
            },
            "cancel": {
                "share": "20%",
                "after": "50ms",
                "http": {"post": self.url + "/cancel", "json": {"id": "${id}"}},
                "accepted": "status == 200 && json.ok",
                "refused": "status == 200 && !json.ok",
            },
            "settle": "10s",
            "read": {
                "gateway": {"http": {"get": self.url + "/gateway"}, "orders": listed},
                "exchange": {"http": {"get": self.url + "/exchange?symbol=${symbol}"}, "orders": listed},
            },
            "states": {"NEW": "open", "CANCELED": "cancelled"},
        }
        return base | changes

    def knows(self, shown: str) -> bool:
        if self.guarded is None:
            return True
        known = self.tokens.get(shown.removeprefix("Bearer "), 0.0) > time.monotonic()
        self.unauthorized += not known
        return known

    # --- answers -------------------------------------------------------------------------------------------------

    def place(self, order: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        """None: no answer at all."""
        mode = self.mode
        self.asked[order["id"]] += 1
        if mode == "stalls":
            self.go.wait()
        if mode == "drops":
            return None
        if mode in ("refuses", "ok-false"):
            return (503 if mode == "refuses" else 200), {"ok": False, "error": "engine_unavailable"}
        self.orders[order["id"]] = order | {"state": "NEW"}
        return 200, {"ok": True}

    def login(self, who: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.logins += 1
        if self.locked or who != {"user": "trader", "password": PASSWORD}:
            return 403, {"error": "forbidden"}
        token = f"token-{secrets.token_hex(8)}"
        self.tokens[token] = time.monotonic() + (self.guarded or 0.0)
        return 200, {"data": {"access_token": token}}

    def cancel(self, name: str) -> tuple[int, dict[str, Any]]:
        order = self.orders.get(name)
        if order is None or order["state"] != "NEW":
            return 200, {"ok": False}
        order["state"] = "CANCELED"
        return 200, {"ok": True}

    def listed(self, path: str) -> tuple[int, Any]:
        side, _, query = path.lstrip("/").partition("?symbol=")
        if side in self.lies:
            return 200, self.lies[side]
        return 200, {"orders": [order for order in list(self.orders.values()) if query in ("", order["symbol"])]}


def _handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            gateway.connections.add(self.request)
            super().setup()

        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            gateway.headers.append(dict(self.headers))
            if self.path == "/login":
                self._say(gateway.login(data))
            elif not gateway.knows(self.headers.get("Authorization", "")):
                self._say((401, {"error": "unauthorized"}))
            else:
                self._say(gateway.place(data) if self.path == "/order" else gateway.cancel(data["id"]))

        def do_GET(self) -> None:
            known = gateway.knows(self.headers.get("Authorization", ""))
            self._say(gateway.listed(self.path) if known else (401, {"error": "unauthorized"}))

        def _say(self, answer: tuple[int, Any] | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            body = json.dumps(answer[1] | {"for": self.headers.get("X-Token", "")}).encode()
            head = f"HTTP/1.1 {answer[0]} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            with suppress(OSError):
                self.wfile.write(head + body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def gateway(mode: Mode = "accepts") -> Iterator[Gateway]:
    made = Gateway(mode)
    try:
        yield made
    finally:
        made.end()
