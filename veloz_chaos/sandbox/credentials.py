"""The gateway's credentials: for the exchange from Vault's KV store, and a leased one that it renews in time.

Vault is looked at every 0.3 s over its link. "sealed" is what it says itself; "unavailable" is no answer for a second.
Meanwhile the gateway goes on with what it has read, and warns: `cached`; at a start without Vault it takes what its
environment says: `environment`. When Vault is back, all is read again: a secret may be another, a lease may have ended.
With the flaw vault-not-cached what was read is dropped as soon as Vault is away, and the environment is no help.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from aiohttp import web

from veloz_chaos.sandbox.vault_client import VaultAway, VaultClient
from veloz_chaos.sandbox.vault_store import API_SECRET, ROLE, new_api_secret

LOOK_EVERY, UNAVAILABLE_AFTER = 0.3, 1.0
#: The share of a lease after which it is renewed.
RENEW_AFTER = 0.5
#: What the gateway falls back to.
KEY_VARIABLE, SECRET_VARIABLE = "VELOZ_BINANCE_API_KEY", "VELOZ_BINANCE_API_SECRET"


class Listener(Protocol):
    """Is told of every change of Vault's status or of where the credentials are from, and of a rotation."""

    def vault(self, status: str, source: str, why: str) -> None: ...

    def rotated(self, version: int) -> None: ...


class Lease(NamedTuple):
    """A leased credential, to be renewed at `due` on the monotonic clock."""

    id: str
    username: str
    due: float


class Credentials:
    """`environment` is what the process was started with; `forgets` is the flaw."""

    def __init__(
        self, client: VaultClient, environment: Mapping[str, str], listener: Listener, forgets: bool = False
    ) -> None:
        self._client, self._listener, self._forgets = client, listener, forgets
        self._key = None if forgets else environment.get(KEY_VARIABLE)
        self.status, self.source = "unavailable", "environment" if self._key else "none"
        self._told: tuple[str, str] | None = None
        self._lease: Lease | None = None
        self._last_success = time.monotonic() - UNAVAILABLE_AFTER

    @property
    def there(self) -> bool:
        return self._key is not None

    def headers(self) -> dict[str, str]:
        """What the exchange wants to see of us."""
        return {"X-MBX-APIKEY": self._key} if self._key else {}

    def part(self) -> dict[str, str]:
        """What /health tells."""
        return {"status": self.status, "credentials": self.source}

    async def run(self) -> None:
        async with self._client:
            while True:
                await self._look()
                await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        try:
            sealed = await self._client.sealed()
            if not sealed and (self._lease is None or self.source != "vault" or time.monotonic() > self._lease.due):
                await self._read()
        except VaultAway as problem:
            if time.monotonic() - self._last_success > UNAVAILABLE_AFTER:
                self._change("unavailable", str(problem))
            return
        self._last_success = time.monotonic()
        self._change("sealed" if sealed else "ok", "Vault is sealed" if sealed else "read from Vault")

    async def _read(self) -> None:
        """Raises VaultAway."""
        self._key = (await self._client.secret(API_SECRET))["api_key"]
        if self._lease and (seconds := await self._client.renew(self._lease.id)):
            self._lease = self._lease._replace(due=_due(seconds))
        else:
            name, username, seconds = await self._client.lease(ROLE)
            self._lease = Lease(name, username, _due(seconds))

    def _change(self, status: str, why: str) -> None:
        self.status = status
        if status == "ok":
            self.source = "vault"
        elif self._forgets:
            self._key, self.source = None, "none"
        elif self.source == "vault":
            self.source = "cached"
        if self._told != (self.status, self.source):
            self._told = (self.status, self.source)
            self._listener.vault(self.status, self.source, why)

    async def rotate(self) -> int:
        """Put a new secret into Vault and use it; its version. Raises VaultAway, and nothing has changed here."""
        if self.status != "ok":
            raise VaultAway(f"Vault is {self.status}")
        version = await self._client.write(API_SECRET, new_api_secret())
        await self._read()
        self._listener.rotated(version)
        return version

    async def handle_rotate(self, _: web.Request) -> web.Response:
        """POST /api/admin/rotate"""
        try:
            return web.json_response({"ok": True, "version": await self.rotate()})
        except VaultAway as problem:
            body = {"ok": False, "error": "vault_unavailable", "message": f"cannot rotate secrets: {problem}"}
            return web.json_response(body, status=503)


def _due(seconds: float) -> float:
    return time.monotonic() + seconds * RENEW_AFTER
