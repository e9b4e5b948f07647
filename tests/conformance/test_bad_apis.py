"""An API that is dead, hangs, fails or is another program's: Unavailable, soon, whatever was asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import Start
from tests.conformance.pairs import SIGN, pairs, prepared
from tests.conformance.rigs import SHARED, Rig, SharedRig
from tests.infra import strangers
from veloz_chaos.core.capability import Reference
from veloz_chaos.core.fault import Fault
from veloz_chaos.errors import Unavailable
from veloz_chaos.targets import dns_proxy, http_proxy, toxiproxy

#: Seconds: a server that never answers, or never ends, is given up on after two or three.
SOON = 10.0
PROXY = b'{"name":"exchange","listen":"127.0.0.1:1","upstream":"127.0.0.1:2","enabled":true,"toxics":[]}'
BAD = {
    "hangs": strangers.silence,
    "trickles": strangers.trickle,
    "500": strangers.http("500 Internal Server Error", b"database is down"),
    "redirects": strangers.saying(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"),
    "html": strangers.http("200 OK", b"<html>It works!</html>", "text/html"),
    "other json": strangers.http("200 OK", b'{"status": "ok"}'),
    "a proxy, in part": strangers.http("200 OK", PROXY.replace(b'"listen"', b'"port"')),
    "list": strangers.http("200 OK", b"[]"),
    "404 of another": strangers.http("404 Not Found", b"no such page", "text/plain"),
    "no http": strangers.saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "closes": strangers.saying(b""),
}
bad = pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in BAD.items()])


def unavailable(call: Callable[[], object]) -> str:
    """The message. The call must raise Unavailable, and soon."""
    begun = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        call()
    assert time.monotonic() - begun < SOON
    return str(caught.value)


def exchange(api: str) -> Reference:
    identity = {"api": api, "proxy": "exchange", "listen": "127.0.0.1:1", "upstream": "127.0.0.1:2"}
    return Reference(backend="toxiproxy", name="exchange", identity=identity | {"ping": {"path": "/"}})


@bad
def test_finding_names_the_address(answer: strangers.Answer) -> None:
    with strangers.serving(answer) as api:
        assert api in unavailable(lambda: toxiproxy.find("x", toxiproxy.Selector(proxy="exchange", api=api)))


@bad
def test_reverting_is_bounded(answer: strangers.Answer) -> None:
    with strangers.serving(answer) as api:
        proxy = toxiproxy.Proxy(exchange(api))
        unavailable(lambda: proxy.undelay(SIGN))
        unavailable(proxy.alive)
        unavailable(lambda: toxiproxy.reopen(proxy.reference))


@bad
@pytest.mark.parametrize("kind", [http_proxy, dns_proxy])
def test_a_fault_proxy_that_is_none(kind: Any, answer: strangers.Answer) -> None:
    place = {"proxy": "exchange", "listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "instance": "a-1"}
    more = {"path": "/", "name": "x"}
    with strangers.serving(answer) as api:
        backend = kind.__name__.rpartition(".")[2].replace("_", "-")
        reference = Reference(backend=backend, name="x", identity={"api": api, **place, **more})
        target = {"http-proxy": http_proxy.HttpProxy, "dns-proxy": dns_proxy.DnsProxy}[backend](reference)
        selector = kind.Selector(proxy="exchange", api=api, **({"name": "x"} if kind is dns_proxy else {}))
        assert api in unavailable(lambda: kind.find("x", selector))
        unavailable(lambda: target.take_off(SIGN))
        unavailable(target.alive)
        unavailable(lambda: kind.reopen(reference))


def test_who_answers_is_told() -> None:
    with strangers.serving(BAD["html"]) as api:
        message = unavailable(toxiproxy.Proxy(exchange(api)).alive)
    assert message == f"something that is not Toxiproxy answers at {api}: <html>It works!</html>"


def test_a_500_is_told_with_its_body() -> None:
    with strangers.serving(BAD["500"]) as api:
        message = unavailable(toxiproxy.Proxy(exchange(api)).alive)
    assert "500" in message
    assert "database is down" in message


@pytest.mark.parametrize(("kind", "fault"), pairs(SHARED, held=True))
def test_reverting_where_the_server_died(kind: type[Rig], fault: Fault[object], start: Start) -> None:  # type: ignore[type-var]
    rig = start(kind)
    assert isinstance(rig, SharedRig)
    target = rig.target()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    rig.process.kill()
    rig.process.wait()
    unavailable(lambda: fault.revert(target, receipt))
    unavailable(lambda: rig.backend.reopen(target.reference))
