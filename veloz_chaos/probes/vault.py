"""Ask Vault how it is, or for a secret of its KV store, version 2.

What a secret holds is seen by the condition alone: it is in `json`, never in `text`, which a report might show. Give
such a probe no `value` that tells it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import http

#: What /v1/sys/health says by its status where nothing was asked to be taken as well.
HEALTH = {
    200: "", 429: "standby", 472: "standby (disaster recovery)", 473: "standby (performance)", 501: "not initialized",
    503: "sealed",
}  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Vault(Probe):
    """`health: true`: json {initialized, sealed, standby, …}; `error`: sealed, not initialized, standby ….

    `read: secret/data/x` with `token`: json is the secret's data; `error`: permission denied, missing, sealed,
    `HTTP 500`. Of both: `status` is HTTP's, `error` also as of the probe http.
    """

    address: str
    health: Literal[True] | None = None
    read: str | None = None
    token: str | None = None
    namespace: str = ""
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        if (self.health is None) == (self.read is None):
            raise ValueError("give health: true, or read and token")
        if (self.read is None) != (self.token is None):
            raise ValueError("read and token belong together")
        if self.token is not None and "${" not in self.token:
            raise ValueError("a token is a secret; write token: ${env:VAULT_TOKEN}")
        http.check(self.address)

    async def open(self, eye: Eye) -> None:
        await self._way(eye).open(self.address)

    async def look(self, eye: Eye) -> Seen:
        path = "sys/health" if self.read is None else eye.fill(self.read).lstrip("/")
        url = http.filled(self.address, f"{eye.fill(self.address).rstrip('/')}/v1/{path}")
        asked = http.get(self.address, url, self._headers(eye))
        async with asyncio.timeout(eye.timeout.total_seconds()):
            answer = await http.ask(url, asked, self._way(eye))
        return _health(answer) if self.read is None else _secret(answer)

    def _headers(self, eye: Eye) -> dict[str, str]:
        token = {"x-vault-token": eye.fill(self.token)} if self.token is not None else {}
        return {"x-vault-request": "true", **token, **({"x-vault-namespace": self.namespace} if self.namespace else {})}

    def _way(self, eye: Eye) -> http.Way:
        return http.Way(self.ca and eye.fill(self.ca), self.verify)


def _health(answer: Seen) -> Seen:
    """The status decides: a server that answers 200 is initialized, unsealed and active, whatever else it says."""
    if answer.error:
        return answer
    if answer.status not in HEALTH:
        return replace(answer, error=f"HTTP {answer.status}")
    told = answer.json if isinstance(answer.json, dict) else {}
    meant = {
        "initialized": answer.status != 501,
        "sealed": answer.status in (501, 503),
        "standby": answer.status in (429, 472, 473),
    }
    return replace(answer, json=meant | told, error=HEALTH[answer.status])


def _secret(answer: Seen) -> Seen:
    seen = Seen(status=answer.status, headers=answer.headers, error=answer.error)
    if answer.error or answer.status != 200:
        return replace(seen, error=answer.error or _refused(answer))
    data = _within(_within(answer.json, "data"), "data")
    return replace(seen, json=data, error="" if isinstance(data, dict) else "not a secret of KV version 2")


def _refused(answer: Seen) -> str:
    words = {403: "permission denied", 404: "missing", 503: "sealed"}
    said = _within(answer.json, "errors")
    if answer.status == 503 and said and "sealed" not in str(said):
        return f"HTTP 503: {said[0]}"
    return words.get(answer.status, f"HTTP {answer.status}")


def _within(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


PROBE = Vault
