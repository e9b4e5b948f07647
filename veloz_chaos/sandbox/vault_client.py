"""The gateway's way to Vault: a few calls of its HTTP API, each a new connection and never longer than a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from veloz_chaos.sandbox.settings import LOOPBACK

PATIENCE = 1.0


class VaultAway(Exception):
    """No answer, or one that refuses; the message says which."""


class VaultClient:
    """`token` is the file that the token is in. Every call raises VaultAway."""

    def __init__(self, port: int, token: Path, host: str = LOOPBACK) -> None:
        self._base, self._token = f"http://{host}:{port}/v1/", token

    async def __aenter__(self) -> VaultClient:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def sealed(self) -> bool:
        """Whether it says that it is sealed."""
        status, body = await self._request("GET", "sys/health")
        if status not in (200, 503) or "sealed" not in body:
            raise VaultAway(f"its health check answers {status}")
        return bool(body["sealed"])

    async def secret(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self._data("GET", f"secret/data/{path}"))["data"]["data"]
        return found

    async def write(self, path: str, data: dict[str, str]) -> int:
        """The new version."""
        return int((await self._data("POST", f"secret/data/{path}", {"data": data}))["data"]["version"])

    async def lease(self, role: str) -> tuple[str, str, float]:
        """The lease's id, the user's name, and how long it lasts, in seconds."""
        body = await self._data("GET", f"database/creds/{role}")
        return body["lease_id"], body["data"]["username"], body["lease_duration"]

    async def renew(self, lease: str) -> float | None:
        """How long it lasts now, in seconds; None if it has ended."""
        status, body = await self._request("PUT", "sys/leases/renew", {"lease_id": lease})
        if status not in (200, 400):
            raise VaultAway(_refusal(status, body))
        return float(body["lease_duration"]) if status == 200 else None

    async def _data(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        status, answer = await self._request(method, path, body)
        if status != 200:
            raise VaultAway(_refusal(status, answer))
        return answer

    async def _request(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        try:
            token = {"X-Vault-Token": self._token.read_text().strip()}
            async with self._session.request(method, self._base + path, json=body, headers=token) as answer:
                return answer.status, await answer.json()
        except TimeoutError:
            raise VaultAway(f"no answer within {PATIENCE} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise VaultAway(f"{type(problem).__name__}: {problem}") from None


def _refusal(status: int, body: dict[str, Any]) -> str:
    return f"it answers {status}: {', '.join(body.get('errors', []))}"
