"""Both ways between us and a program in a pod, through the API server: stdin, stdout and stderr over one WebSocket."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from veloz_chaos.errors import Unavailable
from veloz_chaos.mechanisms.kube_api import PATIENCE, Api, asking, refusal

STDIN, STDOUT, STDERR, ERROR = range(4)
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Stream:
    """A `beside.Stream`. Raises OSError where it breaks."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._socket.settimeout(PATIENCE)

    def fileno(self) -> int:
        return int(self._socket.sock.fileno())

    def pending(self) -> bool:
        return bool(getattr(self._socket.sock, "pending", lambda: 0)())

    def send(self, data: bytes) -> None:
        from websocket import WebSocketException

        try:
            self._socket.send_binary(bytes([STDIN]) + data)
        except WebSocketException as error:
            raise OSError(str(error)) from error

    def receive(self) -> tuple[bytes, bytes] | None:
        from websocket import ABNF, WebSocketException

        try:
            kind, frame = self._socket.recv_data_frame(control_frame=True)
        except WebSocketException as error:
            raise OSError(str(error)) from error
        if kind == ABNF.OPCODE_CLOSE:
            return None
        data: bytes = frame.data
        if kind not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not data:
            return b"", b""
        if data[0] == ERROR:  # the program has ended, and this is how
            return None
        return (data[1:], b"") if data[0] == STDOUT else (b"", data[1:] if data[0] == STDERR else b"")

    def close(self) -> None:
        self._socket.close(timeout=0)


def connect(api: Api, where: str, query: Sequence[tuple[str, str]]) -> Stream:
    """Raises TargetError."""
    from websocket import WebSocket, WebSocketBadStatusException, WebSocketException

    settings: Any = api.sdk.configuration
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_NONE}
    if settings.verify_ssl:
        options = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": settings.ssl_ca_cert}
    given = {"certfile": settings.cert_file, "keyfile": settings.key_file, "server_hostname": settings.tls_server_name}
    options |= {key: value for key, value in given.items() if value}
    header = [f"{key}: {value}" for key, value in api.headers().items() if key != "Accept"]
    socket: Any = WebSocket(sslopt=options, enable_multithread=False)
    socket.settimeout(PATIENCE)
    with asking(api.host):
        try:
            url = api.host.replace("http", "ws", 1) + where + "?" + urlencode(query)
            socket.connect(url, header=header, subprotocols=list(PROTOCOLS))
        except WebSocketBadStatusException as error:
            body = error.resp_body if isinstance(error.resp_body, bytes) else str(error.resp_body or "").encode()
            raise refusal(error.status_code, body, "create", where, api.host) from None
        except WebSocketException as error:
            raise Unavailable(f"the API server {api.host} gives no stream to {where}: {error}") from None
    return Stream(socket)
