"""Toxiproxy by way of our adapter, against the real server: what is named, read back, told apart and left alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.infra import toxiproxy as infra
from tests.infra import upstreams
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms.proxy_api import Conflict, NotFound
from veloz_chaos.mechanisms.toxiproxy_api import Api, Toxic
from veloz_chaos.targets.toxiproxy import Proxy, Selector, find, reopen

SIGN, DELAY = "vc-run", timedelta(milliseconds=100)
EXPIRES = timedelta(minutes=1)
LATENCY = {"latency": 100, "jitter": 0}


@pytest.fixture
def upstream() -> Iterator[str]:
    with upstreams.http() as address:
        yield address


@pytest.fixture
def proxy(toxiproxy: infra.Server, upstream: str, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    toxiproxy.admin.create(request.node.name, upstream)
    yield found(toxiproxy, request.node.name)
    if request.node.name in toxiproxy.admin.call("GET", "/proxies"):
        toxiproxy.admin.delete(request.node.name)


def found(server: infra.Server, name: str, **more: Any) -> Proxy:
    (proxy,) = find("link", Selector(proxy=name, api=server.api, **more))
    return proxy


def toxics(server: infra.Server, proxy: Proxy) -> list[str]:
    return sorted(toxic["name"] for toxic in server.admin.toxics(proxy.name))


def test_toxics_carry_the_sign(toxiproxy: infra.Server, proxy: Proxy) -> None:
    proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)
    proxy.throttle(SIGN, 50_900, EXPIRES)
    kept = toxiproxy.admin.toxics(proxy.name)
    assert [toxic["attributes"] for toxic in kept] == [{"rate": 50}, LATENCY, {"rate": 50}]
    assert toxics(toxiproxy, proxy) == ["vc-run-bandwidth-down", "vc-run-bandwidth-up", "vc-run-latency-down"]
    proxy.undelay(SIGN)
    assert toxics(toxiproxy, proxy) == ["vc-run-bandwidth-down", "vc-run-bandwidth-up"]


def test_another_runs_toxic_of_the_same_kind_stays(toxiproxy: infra.Server, proxy: Proxy) -> None:
    proxy.delay("vc-other", DELAY, timedelta(0), EXPIRES)
    proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)
    proxy.undelay(SIGN)
    assert toxics(toxiproxy, proxy) == ["vc-other-latency-down"]


def test_injecting_twice_is_once_but_a_different_one_is_refused(proxy: Proxy) -> None:
    proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)
    proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)
    with pytest.raises(TargetError, match="was asked for"):
        proxy.delay(SIGN, 2 * DELAY, timedelta(0), EXPIRES)


def test_what_is_written_by_hand_undoes_it(toxiproxy: infra.Server, proxy: Proxy) -> None:
    proxy.sever(SIGN, "silent", "all", EXPIRES)
    urls = proxy.by_hand("Severable", SIGN).removeprefix("curl -X DELETE ").split()
    for url in urls:
        toxiproxy.admin.call("DELETE", url.removeprefix(f"http://{toxiproxy.api}"))
    assert toxics(toxiproxy, proxy) == []


def test_leftovers_are_told_apart(toxiproxy: infra.Server, proxy: Proxy) -> None:
    proxy.delay("vc-yesterday", DELAY, timedelta(0), EXPIRES)
    toxiproxy.admin.add(proxy.name, name="slow", type="latency", attributes=LATENCY)
    toxiproxy.admin.call("POST", f"/proxies/{proxy.name}", {"enabled": False})
    disabled, ours, foreign = proxy.leftovers()
    assert disabled == f"proxy {proxy.name} is disabled; enable it"
    assert "left by an earlier run" in ours
    assert "slow (latency, not ours)" in foreign


def test_a_disabled_proxy_is_refused(toxiproxy: infra.Server, proxy: Proxy) -> None:
    toxiproxy.admin.call("POST", f"/proxies/{proxy.name}", {"enabled": False})
    assert proxy.pass_through(1, DELAY).outcome == "refused"
    with pytest.raises(TargetError, match="disabled"):
        proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)


def test_a_proxy_led_elsewhere_is_gone_but_still_cleaned(toxiproxy: infra.Server, proxy: Proxy) -> None:
    """The server keeps toxics when a proxy is given another upstream: what we put there we take out."""
    proxy.delay(SIGN, DELAY, timedelta(0), EXPIRES)
    with upstreams.http() as other:
        toxiproxy.admin.call("POST", f"/proxies/{proxy.name}", {"upstream": other})
    assert not proxy.alive()
    with pytest.raises(Gone):
        proxy.throttle(SIGN, 50_000, EXPIRES)
    reopen(proxy.reference).undelay(SIGN)
    assert toxics(toxiproxy, proxy) == []
    with pytest.raises(Gone):
        reopen(proxy.reference)


def test_a_missing_proxy_names_those_there_are(toxiproxy: infra.Server, proxy: Proxy) -> None:
    with pytest.raises(Missing, match=f"no proxy 'exchagne'.*{proxy.name}"):
        found(toxiproxy, "exchagne")


def test_nobody_there() -> None:
    api = f"127.0.0.1:{infra.free_port()}"
    with pytest.raises(Unavailable, match="is it running there"):
        find("link", Selector(proxy="x", api=api))


def test_the_api_may_be_written_as_a_url(toxiproxy: infra.Server, proxy: Proxy) -> None:
    assert found(toxiproxy, proxy.name).reference.identity["api"] == toxiproxy.api
    (same,) = find("link", Selector(proxy=proxy.name, api=f"http://{toxiproxy.api}/"))
    assert same.reference == proxy.reference


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_a_proxy_that_listens_everywhere_is_reached_at_the_apis_host(
    listen: str, toxiproxy: infra.Server, upstream: str
) -> None:
    toxiproxy.admin.create("everywhere", upstream, listen)
    try:
        assert found(toxiproxy, "everywhere").pass_through(1, timedelta(seconds=5)).outcome == "answered"
    finally:
        toxiproxy.admin.delete("everywhere")


def test_errors_are_told_apart(toxiproxy: infra.Server, proxy: Proxy) -> None:
    api, toxic = Api(toxiproxy.api), Toxic(name="x", type="latency", stream="downstream", attributes=LATENCY)
    with pytest.raises(NotFound, match="proxy not found"):
        api.add("nowhere", toxic)
    with pytest.raises(TargetError, match="invalid toxic type"):
        api.add(proxy.name, toxic.model_copy(update={"type": "lateness"}))
    with pytest.raises(TargetError, match="was asked for"):  # the server ignores what it does not know
        api.add(proxy.name, toxic.model_copy(update={"attributes": {"latensy": 100}}))
    with pytest.raises(Conflict, match="proxy already exists"):
        api._call("post", "/proxies", json={"name": proxy.name, "upstream": proxy.upstream})
    api.remove(proxy.name, "never-there")
    api.remove("nowhere", "never-there")


def test_several_servers_at_once(toxiproxy: infra.Server, proxy: Proxy) -> None:
    second = infra.Server(infra.program() or "")
    try:
        second.admin.create("there", proxy.upstream)
        apis = [(Api(toxiproxy.api), proxy.name), (Api(second.api), "there")] * 20
        with ThreadPoolExecutor(8) as pool:
            states = list(pool.map(lambda asked: asked[0].proxy(asked[1]), apis))
        assert [state and state.name for state in states] == [name for _, name in apis]
    finally:
        second.stop()


def test_no_proxy_from_the_environment(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert proxy.alive()


@pytest.mark.parametrize("written", [{}, {"proxy": "a/b"}, {"proxy": "x", "ping": "tcp"}, {"proxy": "x", "apy": ""}])
def test_selectors_that_are_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Selector).validate_python(written)


def test_an_api_is_a_host_and_a_port() -> None:
    with pytest.raises(TargetError, match="host:port"):
        Api("localhost")
