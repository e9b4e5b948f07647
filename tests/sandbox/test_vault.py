"""The Vault stand-in speaks as Vault does; it goes away in every way, and the gateway goes on with what it has."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.stack import Answer, Stack, until
from tests.sandbox.test_database import REFUSED, WAYS, cut
from veloz_chaos.sandbox import control
from veloz_chaos.sandbox.vault_store import API_SECRET

pytestmark = pytest.mark.sandbox
SECRET = f"secret/data/{API_SECRET}"


def vault(stack: Stack, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
    """Past the link, with the gateway's token unless another is given."""
    if token is None:
        token = (stack.directory / "vault" / "token").read_text()
    data = None if body is None else json.dumps(body).encode()
    url = f"{stack.sandbox.url('vault')}/v1/{path}"
    request = urllib.request.Request(url, data, {"X-Vault-Token": token}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.read().decode())


def unseal(stack: Stack) -> Answer:
    key = json.loads((stack.directory / "vault" / "store.json").read_text())["unseal_key"]
    return vault(stack, "PUT", "sys/unseal", {"key": key})


def part(stack: Stack) -> dict[str, Any]:
    answer = stack.gateway("/health")
    found: dict[str, Any] = answer.json["vault"] if answer.status == 200 else {}
    return found


def rotate(stack: Stack) -> Answer:
    return stack.gateway("/api/admin/rotate", {})


def assert_trades(stack: Stack, name: str) -> None:
    answer = stack.order(name)
    assert answer.json["ok"], answer


FROM_VAULT = {"status": "ok", "credentials": "vault"}
CACHED = {"status": "unavailable", "credentials": "cached"}
FROM_ENVIRONMENT = {"status": "unavailable", "credentials": "environment"}


def test_only_with_the_token(shared: Stack) -> None:
    for token in ("", "hvs.wrong"):
        refused = vault(shared, "GET", SECRET, token=token)
        assert (refused.status, refused.json) == (403, {"errors": ["permission denied"]})
        assert vault(shared, "PUT", "sys/seal", token=token).status == 403
        assert vault(shared, "GET", "sys/health", token=token).status == 200


def test_secrets_have_versions(shared: Stack) -> None:
    assert vault(shared, "GET", "secret/data/mine").status == 404
    assert vault(shared, "GET", "secret/metadata/mine").status == 404
    for number in (1, 2):
        made = vault(shared, "POST", "secret/data/mine", {"data": {"n": number}, "options": {"cas": number - 1}})
        assert (made.status, made.json["data"]["version"]) == (200, number)
    stale = vault(shared, "PUT", "secret/data/mine", {"data": {}, "options": {"cas": 1}})
    assert (stale.status, stale.json["errors"]) == (400, ["check-and-set parameter did not match the current version"])
    newest = vault(shared, "GET", "secret/data/mine").json
    assert newest["data"]["data"] == {"n": 2} and newest["data"]["metadata"]["version"] == 2
    assert vault(shared, "GET", "secret/data/mine?version=1").json["data"]["data"] == {"n": 1}
    assert vault(shared, "GET", "secret/data/mine?version=3").status == 404
    assert vault(shared, "GET", "secret/metadata/mine").json["data"]["current_version"] == 2


@pytest.mark.parametrize("body", [{}, [], {"data": 1}])
def test_bodies_that_are_no_secret(shared: Stack, body: object) -> None:
    assert vault(shared, "POST", "secret/data/wrong", body).status == 400
    assert vault(shared, "GET", "secret/data/mine?version=x").status == 400


def test_leases(shared: Stack) -> None:
    leased = vault(shared, "GET", "database/creds/gateway").json
    assert leased["renewable"] and leased["lease_duration"] == 30 and leased["data"]["username"]
    again = vault(shared, "PUT", "sys/leases/renew", {"lease_id": leased["lease_id"]})
    assert (again.status, again.json["lease_duration"]) == (200, 30)
    assert vault(shared, "PUT", "sys/leases/revoke", {"lease_id": leased["lease_id"]}).status == 204
    gone = vault(shared, "PUT", "sys/leases/renew", {"lease_id": leased["lease_id"]})
    assert (gone.status, gone.json["errors"]) == (400, ["lease not found"])
    assert vault(shared, "GET", "database/creds/nobody").status == 400


def test_sealed(stack: Stack) -> None:
    assert vault(stack, "GET", "sys/health").json["sealed"] is False
    assert vault(stack, "PUT", "sys/seal").status == 204
    codes = [vault(stack, "GET", f"sys/health{query}").status for query in ("", "?sealedcode=299", "?activecode=298")]
    assert codes == [503, 299, 503]
    assert vault(stack, "GET", SECRET).json == {"errors": ["Vault is sealed"]}
    until(lambda: part(stack) == {"status": "sealed", "credentials": "cached"})
    assert stack.gateway("/health").json["status"] == "degraded"
    assert_trades(stack, "sealed")
    assert (rotate(stack).status, rotate(stack).json["error"]) == (503, "vault_unavailable")
    control.restart(stack.directory, "vault")
    assert vault(stack, "PUT", "sys/unseal", {"key": "wrong"}).status == 400
    assert vault(stack, "GET", "sys/seal-status").json["sealed"] is True
    assert unseal(stack).json["sealed"] is False
    until(lambda: part(stack) == FROM_VAULT)


def test_not_initialised_after_its_storage_was_lost(stack: Stack) -> None:
    (stack.directory / "vault" / "store.json").unlink()
    control.restart(stack.directory, "vault")
    assert vault(stack, "GET", "sys/health").status == 501
    assert vault(stack, "GET", SECRET).status == 400
    until(lambda: part(stack) == CACHED)
    assert_trades(stack, "cached")
    made = vault(stack, "PUT", "sys/init").json
    assert vault(stack, "PUT", "sys/init").status == 400
    secret = {"data": {"api_key": "by hand", "api_secret": "by hand"}}
    assert vault(stack, "PUT", SECRET, secret, token=made["root_token"]).status == 200
    (stack.directory / "vault" / "token").write_text(made["root_token"])
    until(lambda: part(stack) == FROM_VAULT)


def test_killed(stack: Stack) -> None:
    with stack.unattended():
        stack.kill("vault", signal.SIGKILL)
        until(lambda: part(stack) == CACHED)
        assert_trades(stack, "meanwhile")
    assert "WARNING vault is unavailable, credentials: cached" in stack.log()
    until(lambda: part(stack) == FROM_VAULT)
    assert stack.truth("gateway", "vault-status")[-1]["status"] == "ok"
    assert "INFO vault is ok, credentials: vault" in stack.log()


@WAYS
def test_cut_off(stack: Stack, way: list[Any]) -> None:
    """Goes on with cached credentials, and cannot rotate secrets."""
    version = rotate(stack).json["version"]
    with cut(stack, "vault", way):
        until(lambda: part(stack) == CACHED)
        assert_trades(stack, "meanwhile")
        refused = rotate(stack)
        assert (refused.status, refused.json["error"]) == (503, "vault_unavailable")
        assert refused.json["message"].startswith("cannot rotate secrets: ")
    until(lambda: part(stack) == FROM_VAULT)
    assert rotate(stack).json == {"ok": True, "version": version + 1}


def test_gateway_starts_without_it_by_its_environment(stack: Stack) -> None:
    with cut(stack, "vault", REFUSED):
        stack.kill("gateway", signal.SIGKILL)
        until(lambda: stack.service("gateway")["restarts"] == 1 and part(stack) == FROM_ENVIRONMENT)
        until(lambda: stack.gateway("/health").json["exchange"]["status"] == "ok")
        assert_trades(stack, "by-environment")
        assert "WARNING vault is unavailable, credentials: environment" in stack.log()
        assert rotate(stack).status == 503
    until(lambda: part(stack) == FROM_VAULT)


def test_rotation_reaches_vault_and_the_exchange(stack: Stack) -> None:
    """The exchange is shown the key that Vault holds; without Vault, the one of the environment."""
    with keys_shown(stack) as shown:
        before = key_in_vault(stack)
        until(lambda: before in shown)
        assert rotate(stack).json["ok"] and key_in_vault(stack) != before
        until(lambda: shown[-1:] == [key_in_vault(stack)])
        with cut(stack, "vault", REFUSED):
            stack.kill("gateway", signal.SIGKILL)
            until(lambda: shown[-1:] == ["sandbox-environment"])


def key_in_vault(stack: Stack) -> str:
    return str(vault(stack, "GET", SECRET).json["data"]["data"]["api_key"])


@contextmanager
def keys_shown(stack: Stack) -> Iterator[list[str | None]]:
    """The API keys that the gateway shows an exchange of our own, which its link leads to meanwhile."""
    shown: list[str | None] = []

    class Exchange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["X-MBX-APIKEY"])
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Exchange)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.links("POST", "/proxies/exchange", {"upstream": f"127.0.0.1:{server.server_port}"})
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()


def test_a_lease_is_renewed_before_it_ends_and_replaced_after(start: Start) -> None:
    stack = start(lease=5.0)
    until(lambda: len(stack.truth("vault", "renewed")) >= 3)
    [first] = stack.truth("vault", "leased")
    assert {event["lease"] for event in stack.truth("vault", "renewed")} == {first["lease"]}
    with cut(stack, "vault", REFUSED):
        until(lambda: part(stack) == CACHED)
        until(lambda: ended(stack, first["lease"]))
        assert_trades(stack, "lease-ended")
    until(lambda: part(stack) == FROM_VAULT)
    assert stack.truth("vault", "leased")[-1]["lease"] != first["lease"]


def ended(stack: Stack, lease: str) -> bool:
    """By Vault's own clock, which is ours."""
    leases = json.loads((stack.directory / "vault" / "store.json").read_text())["leases"]
    return bool(leases.get(lease, 0.0) < time.time())


def test_vault_not_cached(start: Start) -> None:
    stack = start("vault-not-cached")
    assert_trades(stack, "before")
    with cut(stack, "vault", REFUSED):
        until(lambda: part(stack) == {"status": "unavailable", "credentials": "none"})
        refused = stack.order("refused")
        assert (refused.status, refused.json["ok"], refused.json["error"]) == (503, False, "no_credentials")
        assert stack.gateway("/api/cancel", {"client_order_id": "seed-resting-buy"}).json["ok"]
    until(lambda: part(stack) == FROM_VAULT)
    assert_trades(stack, "refused")
