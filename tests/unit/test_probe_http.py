"""One HTTP look against real servers on the loopback: good, bad, slow, gone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms.aside import CALLS
from veloz_chaos.mechanisms.http import LIMIT
from veloz_chaos.probes.http import METHODS, PROBE, Http

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'


def eye(seconds: float = 10, fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


def run(coroutine: Coroutine[Any, Any, Seen]) -> Seen:
    return asyncio.run(coroutine)


@asynccontextmanager
async def serving(handler: Handler, path: str = "", **options: Any) -> Any:
    """The port of a server (or a socket at `path`) whose connections `handler` answers; it closes them."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    if path:
        server: asyncio.Server = await asyncio.start_unix_server(handle, path, **options)
    else:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield path or server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(answer: bytes, asked: list[bytes] | None = None) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        for line in request.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                request += await reader.readexactly(int(line.split(b":")[1]))
        if asked is not None:
            asked.append(request)
        writer.write(answer)
        await writer.drain()

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    """Answer nothing until the other side goes."""
    await reader.read()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def asked(handler: Handler, seconds: float = 10, **keys: Any) -> Seen:
    """What a GET of such a server sees."""

    async def ask() -> Seen:
        async with serving(handler) as port:
            return await Http(**{"get": f"http://127.0.0.1:{port}/"} | keys).look(eye(seconds))

    return run(ask())


@contextmanager
def no_leak() -> Iterator[None]:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    yield
    assert descriptors() <= before


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# What is written


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({}, "exactly one of"),
        ({"get": "http://a", "post": "http://a"}, "exactly one of"),
        ({"get": "http://a", "body": "x", "json": {}}, "not both"),
        ({"get": "a/b"}, "http://host:port/path"),
        ({"get": "ftp://a/b"}, "http://host:port/path"),
        ({"get": "http:///b"}, "http://host:port/path"),
        ({"get": "http://a:99999/"}, "up to 65535"),
        ({"get": "http://me:secret@a/"}, "authorization"),
        ({"get": "http://a", "follow": True}, "Unexpected keyword"),
        ({"get": "http://a", "json": {"since": timedelta(1)}}, "quote it"),
        ({"get": "http://a", "json": float("nan")}, "JSON"),
        ({"get": "http://a", "headers": {"x": 1}}, "string"),
    ],
)
def test_says_what_is_wrong(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Http(**keys)


def test_address_is_as_written() -> None:
    assert PROBE is Http
    for method in METHODS:
        keys: dict[str, Any] = {method: "http://a/${unique}"}
        assert Http(**keys).address() == "http://a/${unique}"


@pytest.mark.parametrize("filled", ["secret", "http://a b:x/"])
def test_a_filled_url_that_is_none_is_a_usage_error_without_the_secret(filled: str) -> None:
    with pytest.raises(UsageError, match=r"host:port|a number") as caught:
        run(Http(get="${env:URL}").look(eye(fill=lambda _: filled)))
    assert filled not in str(caught.value)


def test_a_header_that_http_forbids_is_a_usage_error_without_the_secret() -> None:
    probe = Http(get="http://127.0.0.1:1/", headers={"authorization": "${env:TOKEN}"})
    with pytest.raises(UsageError, match="header") as caught:
        run(probe.look(eye(fill=lambda text: text.replace("${env:TOKEN}", "se\ncret"))))
    assert "cret" not in str(caught.value)


# What is asked


def test_sends_what_is_written() -> None:
    heard: list[bytes] = []

    async def ask() -> Seen:
        async with serving(answering(OK, heard)) as port:
            probe = Http(put=f"http://127.0.0.1:{port}/a b?c=ü#d", headers={"X-A": "1", "Host": "other"}, body="hällo")
            return await probe.look(eye())

    assert run(ask()).status == 200
    head, _, body = heard[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert head.startswith(b"PUT /a%20b?c=%C3%BC HTTP/1.1\r\n")
    assert body == "hällo".encode()
    assert {b"x-a: 1", b"host: other", b"connection: close", b"content-length: 6"} <= set(lines)
    assert sum(line.startswith(b"host:") for line in lines) == 1


def test_templates_are_filled_anew_for_each_look() -> None:
    heard: list[bytes] = []
    numbers = count(1)

    def fill(text: str) -> str:
        return text.replace("${unique}", f"id-{next(numbers)}") if "${unique}" in text else text

    async def ask() -> Seen:
        async with serving(answering(OK, heard)) as port:
            probe = Http(post=f"http://127.0.0.1:{port}/", json={"a": [{"id": "${unique}"}, 1, None]})
            await probe.look(eye(fill=fill))
            return await probe.look(eye(fill=fill))

    run(ask())
    assert [request.partition(b"\r\n\r\n")[2] for request in heard] == [
        b'{"a": [{"id": "id-1"}, 1, null]}',
        b'{"a": [{"id": "id-2"}, 1, null]}',
    ]
    assert b"content-type: application/json" in heard[0].lower()


def test_each_look_has_its_own_connection_and_one_request() -> None:
    heard: list[bytes] = []
    keep_alive = OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    seen = [asked(answering(keep_alive, heard)) for _ in range(3)]
    assert [each.status for each in seen] == [200] * 3
    assert len(heard) == 3


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_is_taken_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert asked(answering(OK)).status == 200


# What is answered


def test_an_answer() -> None:
    seen = asked(answering(OK))
    assert (seen.status, seen.json, seen.text, seen.error, seen.value) == (
        200, {"status": "ok"}, '{"status":"ok"}', "", None,
    )  # fmt: skip
    assert seen.headers["content-type"] == "application/json"


def test_a_redirect_is_the_answer() -> None:
    heard: list[bytes] = []
    seen = asked(answering(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", heard))
    assert (seen.status, seen.headers["location"], seen.error, len(heard)) == (302, "/there", "", 1)


@pytest.mark.parametrize("status", [404, 418, 429, 500, 503])
def test_a_refusal_is_an_answer(status: int) -> None:
    head = f"HTTP/1.1 {status} No\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nno".encode()
    seen = asked(answering(head))
    assert (seen.status, seen.text, seen.json, seen.error) == (status, "no", None, "")
    assert (seen.headers["retry-after"], seen.headers["x-a"]) == ("7", "1, 2")


def test_head_has_no_body() -> None:
    async def ask() -> Seen:
        async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as port:
            return await Http(head=f"http://127.0.0.1:{port}/").look(eye())

    seen = run(ask())
    assert (seen.status, seen.text, seen.error) == (200, "", "")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", "old"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", "late"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_whole_answers_of_all_shapes(answer: bytes, text: str) -> None:
    seen = asked(answering(answer))
    assert (seen.text, seen.error) == (text, "")
    assert seen.status in (200, 204)


@pytest.mark.parametrize("body", ["OK", "", "NaN", '{"a": Infinity}', "[" * 100_000, "1" * 10_000, '{"a":'])
def test_what_is_not_json_is_none(body: str) -> None:
    seen = asked(answering(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()))
    assert (seen.json, seen.text, seen.error) == (None, body, "")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_has_no_status(answer: bytes) -> None:
    seen = asked(answering(answer))
    assert (seen.status, seen.text, seen.error) == (0, "", "closed")


@pytest.mark.parametrize(
    "answer",
    [
        b"\x16\x03\x01\x00\x00garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
def test_garbage_is_a_protocol_error(answer: bytes) -> None:
    seen = asked(answering(answer))
    assert seen.status == 0
    assert seen.error.startswith("protocol: ")


@pytest.mark.parametrize("head", [b"Content-Length: 1048577", b"X: until the end"])
def test_too_large_is_bounded(head: bytes) -> None:
    seen = asked(answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + b"x" * (LIMIT + 1)))
    assert (seen.status, seen.text, seen.error) == (200, "", "too large")


def test_an_endless_body_is_cut() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    assert asked(endless).error == "too large"


def test_the_largest_body_is_read() -> None:
    seen = asked(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + b"x" * LIMIT))
    assert (len(seen.text), seen.error) == (LIMIT, "")


# What goes wrong


def test_refused() -> None:
    assert run(Http(get=f"http://127.0.0.1:{free_port()}/").look(eye())) == Seen(error="refused")


def test_reset() -> None:
    assert asked(resetting) == Seen(error="reset")


def test_unreachable() -> None:
    assert run(Http(get="http://255.255.255.255/").look(eye())).error == "unreachable"


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "x" * 70 + ".invalid"])
def test_unknown_name(host: str) -> None:
    assert run(Http(get=f"http://{host}/").look(eye(30))) == Seen(error="dns")


def test_a_name_is_resolved_for_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[str] = []
    real = socket.getaddrinfo

    def counting(host: str, *arguments: Any, **keys: Any) -> Any:
        if not keys.get("flags"):
            asked_for.append(host)
        return real("127.0.0.1", *arguments, **keys) if not keys.get("flags") else real(host, *arguments, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", counting)

    async def ask() -> None:
        async with serving(answering(OK)) as port:
            for host in ("gateway.test", "127.0.0.1", "gateway.test"):
                assert (await Http(get=f"http://{host}:{port}/").look(eye())).status == 200

    asyncio.run(ask())
    assert asked_for == ["gateway.test"] * 2


def test_a_hanging_resolver_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    over, real = threading.Event(), socket.getaddrinfo

    def hanging(host: str, *arguments: Any, **keys: Any) -> Any:
        if host == "hangs.test" and not keys.get("flags"):
            over.wait()
        return real("127.0.0.1" if host.endswith(".test") and not keys.get("flags") else host, *arguments, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)

    async def ask() -> Seen:
        hangs = Http(get="http://hangs.test/")
        looks = await asyncio.gather(*(hangs.look(eye(0.05)) for _ in range(200)), return_exceptions=True)
        assert all(isinstance(look, TimeoutError) for look in looks)
        over.set()
        async with serving(answering(OK)) as port:
            while True:  # until the threads have let go
                with still_owed():
                    return await Http(get=f"http://works.test:{port}/").look(eye())

    assert run(ask()).status == 200
    assert CALLS < 200


@contextmanager
def still_owed() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        if "owes" not in str(error):
            raise


def test_localhost_is_tried_at_all_its_addresses() -> None:
    async def ask() -> Seen:
        async with serving(answering(OK)) as port:
            return await Http(get=f"http://localhost:{port}/").look(eye())

    assert run(ask()).status == 200


def test_out_of_descriptors_is_not_the_servers_fault() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def ask() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await Http(get="http://127.0.0.1:1/").look(eye())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    asyncio.run(ask())


# Time


async def trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow")
    await reader.read()


async def hinting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Early hints for ever."""
    await reader.readuntil(b"\r\n\r\n")
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


@pytest.mark.parametrize("handler", [silent, trickling, hinting])
def test_no_whole_answer_in_time(handler: Handler) -> None:
    with pytest.raises(TimeoutError):
        asked(handler, 0.1)


def test_no_handshake_in_time() -> None:
    async def ask() -> Seen:
        async with serving(silent) as port:
            return await Http(get=f"https://127.0.0.1:{port}/", verify=False).look(eye(0.1))

    with pytest.raises(TimeoutError):
        run(ask())


def test_a_connect_that_is_not_answered() -> None:
    """A full backlog: further connects hang, as they do when packets are dropped."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pytest.raises(TimeoutError):
            run(Http(get=f"http://127.0.0.1:{full.getsockname()[1]}/").look(eye(0.1)))
        for each in crowd:
            each.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_left_of_hundreds_of_timed_out_looks(scheme: str) -> None:
    async def ask() -> None:
        async with serving(silent) as port:
            probe = Http(get=f"{scheme}://127.0.0.1:{port}/", verify=False)
            await probe.open(eye())
            before = asyncio.all_tasks()
            with no_leak():
                for _ in range(6):
                    looks = await asyncio.gather(*(probe.look(eye(0.05)) for _ in range(50)), return_exceptions=True)
                    assert all(isinstance(look, TimeoutError) for look in looks)
                while asyncio.all_tasks() - before:  # the server's own side
                    await asyncio.wait(asyncio.all_tasks() - before)
                await asyncio.sleep(0)

    asyncio.run(ask())


def test_a_cancelled_look_closes_its_connection() -> None:
    async def ask() -> None:
        gone = asyncio.Event()
        came = asyncio.Event()

        async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
            await reader.readuntil(b"\r\n\r\n")
            came.set()
            await reader.read()
            gone.set()

        async with serving(waiting) as port:
            look = asyncio.create_task(Http(get=f"http://127.0.0.1:{port}/").look(eye(60)))
            await came.wait()
            look.cancel()
            await gone.wait()
            with pytest.raises(asyncio.CancelledError):
                await look

    asyncio.run(ask())


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and a key and certificate of localhost signed by it."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj"]
    openssl([*new, "/CN=a CA", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"])
    openssl([*new, "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"])
    signed = ["openssl", "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl([*signed, "-days", "2", "-extfile", "names", "-out", "cert.pem"])
    return folder


def server_side(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    return context


def asked_securely(certificates: Path, handler: Handler, host: str = "localhost", **keys: Any) -> Seen:
    async def ask() -> Seen:
        async with serving(handler, ssl=server_side(certificates)) as port:
            probe = Http(get=f"https://{host}:{port}/", **keys)
            await probe.open(eye())
            return await probe.look(eye())

    return run(ask())


def test_a_trusted_certificate(certificates: Path) -> None:
    ca = str(certificates / "ca.pem")
    for host in ("localhost", "127.0.0.1"):
        assert asked_securely(certificates, answering(OK), host, ca=ca).json == {"status": "ok"}


def test_an_untrusted_certificate(certificates: Path) -> None:
    seen = asked_securely(certificates, answering(OK))
    assert seen.status == 0
    assert seen.error.startswith("tls: ")
    assert "certificate" in seen.error


def test_a_certificate_of_another_name(certificates: Path) -> None:
    path, ca = str(certificates / "socket"), str(certificates / "ca.pem")

    async def ask() -> Seen:
        async with serving(answering(OK), path, ssl=server_side(certificates)):
            return await Http(get="https://other.test/", unix=path, ca=ca).look(eye())

    seen = run(ask())
    assert seen.error.startswith("tls: ")
    assert "mismatch" in seen.error


def test_unverified(certificates: Path) -> None:
    assert asked_securely(certificates, answering(OK), verify=False).status == 200


def test_tls_that_breaks_off(certificates: Path) -> None:
    half = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
    assert asked_securely(certificates, half, verify=False).error in ("closed", "tls: unexpected eof while reading")


def test_no_tls_where_tls_is_asked() -> None:
    async def speaks_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async def ask(handler: Handler) -> Seen:
        async with serving(handler) as port:
            return await Http(get=f"https://127.0.0.1:{port}/", verify=False).look(eye())

    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write_eof()
        await reader.read()

    assert run(ask(speaks_first)).error.startswith("tls: ")
    assert run(ask(leaves)).error == "closed"


def test_missing_certificates_are_a_usage_error(tmp_path: Path) -> None:
    async def opened(path: Path) -> None:
        await Http(get="https://a/", ca=str(path)).open(eye())

    (tmp_path / "empty").write_text("")
    for path in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(UsageError, match="ca: "):
            asyncio.run(opened(path))


# A socket in the file system


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    heard: list[bytes] = []

    async def ask() -> Seen:
        async with serving(answering(OK, heard), path):
            probe = Http(get="http://docker/info", unix="${where}")
            return await probe.look(eye(fill=lambda text: text.replace("${where}", path)))

    assert run(ask()).status == 200
    assert heard[0].startswith(b"GET /info HTTP/1.1\r\n")
    assert b"host: docker\r\n" in heard[0].lower()
    assert run(Http(get="http://docker/", unix=str(tmp_path / "none")).look(eye())).error == "refused"
