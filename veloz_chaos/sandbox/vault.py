"""The Vault: a stand-in that speaks the part of HashiCorp Vault's HTTP API that the gateway and probes use.

sys/health, seal-status, init, seal and unseal; KV version 2 at `secret/` with check-and-set and metadata; leased
credentials at `database/creds/ROLE`, to be renewed or revoked; a token in X-Vault-Token for all but health, init and
unseal. Shapes and status codes are those of https://developer.hashicorp.com/vault/api-docs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from veloz_chaos.sandbox import process, vault_store
from veloz_chaos.sandbox.http_server import served
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog
from veloz_chaos.sandbox.vault_store import Store, Version

VERSION = "1.15.0+sandbox"
OPEN = ("/v1/sys/health", "/v1/sys/seal-status", "/v1/sys/init", "/v1/sys/unseal")
KV = "secret/data/{path:.+}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    def __init__(self, status: int, *errors: str) -> None:
        super().__init__()
        self.status, self.errors = status, errors


class Vault:
    """`lease` is how long a leased credential lives, in seconds."""

    def __init__(self, store: Store, truth: TruthLog, lease: float) -> None:
        self._store, self._truth, self._lease = store, truth, lease

    def check(self, request: web.Request) -> None:
        """Raises Refused unless the request may be answered."""
        if not self._store.initialized:
            raise Refused(400, "Vault is not initialized")
        if self._store.sealed:
            raise Refused(503, "Vault is sealed")
        if not secrets.compare_digest(request.headers.get("X-Vault-Token", "").encode(), self._store.token.encode()):
            raise Refused(403, "permission denied")

    async def health(self, request: web.Request) -> web.Response:
        """200, 501 before it is initialised, 503 while sealed, or what `activecode`, `uninitcode`, `sealedcode` ask."""
        store = self._store
        name, code = ("sealedcode", 503) if store.sealed else ("activecode", 200)
        name, code = (name, code) if store.initialized else ("uninitcode", 501)
        asked = request.query.get(name, "")
        state = {"initialized": store.initialized, "sealed": store.sealed or not store.initialized, "standby": False}
        body = {**state, "server_time_utc": int(time.time()), "version": VERSION, "cluster_name": "sandbox"}
        return web.json_response(body, status=int(asked) if asked.isdigit() else code)

    async def seal_status(self, _: web.Request) -> web.Response:
        return self._seal_status()

    def _seal_status(self) -> web.Response:
        state = {"initialized": self._store.initialized, "sealed": self._store.sealed, "version": VERSION}
        return web.json_response({"type": "shamir", "t": 1, "n": 1, "progress": 0, **state})

    async def initialize(self, _: web.Request) -> web.Response:
        if self._store.initialized:
            raise Refused(400, "Vault is already initialized")
        self._store.initialize()
        return web.json_response({"keys": [self._store.unseal_key], "root_token": self._store.token})

    async def seal(self, _: web.Request) -> web.Response:
        self._store.seal(True)
        self._truth.write("sealed")
        return web.Response(status=204)

    async def unseal(self, request: web.Request) -> web.Response:
        if (await _body(request)).get("key") != self._store.unseal_key:
            raise Refused(400, "unseal failed, invalid key")
        self._store.seal(False)
        self._truth.write("unsealed")
        return self._seal_status()

    async def read(self, request: web.Request) -> web.Response:
        number = request.query.get("version", "0")
        if not number.isdigit():
            raise Refused(400, "version must be a number")
        found = self._store.version(request.match_info["path"], int(number))
        if found is None:
            raise Refused(404)
        return _data({"data": found[1].data, "metadata": _metadata(*found)})

    async def write(self, request: web.Request) -> web.Response:
        path, body = request.match_info["path"], await _body(request)
        if not isinstance(body.get("data"), dict):
            raise Refused(400, "no data provided")
        newest = self._store.version(path)
        expected = (body.get("options") or {}).get("cas")
        if expected is not None and expected != (newest[0] if newest else 0):
            raise Refused(400, "check-and-set parameter did not match the current version")
        number = self._store.put(path, body["data"])
        self._truth.write("secret-written", path=path, version=number)
        return _data(_metadata(number, self._store.secrets[path][-1]))

    async def metadata(self, request: web.Request) -> web.Response:
        versions = self._store.secrets.get(request.match_info["path"])
        if not versions:
            raise Refused(404)
        numbered = {str(number): _metadata(number, version) for number, version in enumerate(versions, 1)}
        times = {"created_time": versions[0].created_time, "updated_time": versions[-1].created_time}
        return _data({"current_version": len(versions), "oldest_version": 1, **times, "versions": numbered})

    async def credentials(self, request: web.Request) -> web.Response:
        role = request.match_info["role"]
        if role != vault_store.ROLE:
            raise Refused(400, f"unknown role: {role}")
        lease = self._store.lease(role, self._lease)
        self._truth.write("leased", lease=lease)
        data = {"username": f"v-{role}-{secrets.token_hex(4)}", "password": secrets.token_hex(12)}
        return _data(data, lease, self._lease)

    async def renew(self, request: web.Request) -> web.Response:
        lease = str((await _body(request)).get("lease_id", ""))
        if not self._store.renew(lease, self._lease):
            raise Refused(400, "lease not found")
        self._truth.write("renewed", lease=lease)
        return _data(None, lease, self._lease)

    async def revoke(self, request: web.Request) -> web.Response:
        self._store.revoke(str((await _body(request)).get("lease_id", "")))
        return web.Response(status=204)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v1/sys/health", self.health)
        app.router.add_get("/v1/sys/seal-status", self.seal_status)
        app.router.add_get(f"/v1/{KV}", self.read)
        app.router.add_get("/v1/secret/metadata/{path:.+}", self.metadata)
        app.router.add_get("/v1/database/creds/{role}", self.credentials)
        changes = {"init": self.initialize, "seal": self.seal, "unseal": self.unseal}
        changes |= {"leases/renew": self.renew, "leases/revoke": self.revoke}
        for path, handler in {**{f"sys/{name}": one for name, one in changes.items()}, KV: self.write}.items():
            app.router.add_put(f"/v1/{path}", handler)
            app.router.add_post(f"/v1/{path}", handler)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in OPEN:
                self.check(request)
            return await handler(request)
        except Refused as refused:
            return web.json_response({"errors": list(refused.errors)}, status=refused.status)


async def _body(request: web.Request) -> dict[str, Any]:
    """Raises Refused."""
    try:
        body = await request.json() if request.can_read_body else {}
    except ValueError:
        raise Refused(400, "failed to parse JSON input") from None
    if not isinstance(body, dict):
        raise Refused(400, "failed to parse JSON input")
    return body


def _metadata(number: int, version: Version) -> dict[str, Any]:
    rest = {"custom_metadata": None, "deletion_time": "", "destroyed": False}
    return {"created_time": version.created_time, **rest, "version": number}


def _data(data: object, lease: str = "", seconds: float = 0) -> web.Response:
    lease_fields = {"lease_id": lease, "renewable": bool(lease), "lease_duration": round(seconds)}
    rest = {"wrap_info": None, "warnings": None, "auth": None}
    return web.json_response({"request_id": str(uuid.uuid4()), **lease_fields, "data": data, **rest})


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    truth = TruthLog(settings.directory, "vault")
    folder = settings.directory / "vault"
    folder.mkdir(mode=0o700, exist_ok=True)
    vault = Vault(vault_store.read(folder / "store.json"), truth, settings.lease)
    async with served(vault.application(), settings.ports["vault"], settings.listen):
        truth.write("serving", pid=os.getpid())
        process.ready()
        await stop.wait()


if __name__ == "__main__":
    process.run(serve)
