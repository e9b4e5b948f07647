"""What the Vault stand-in keeps: secrets with their versions, leases, and whether it is initialised and sealed.

`<directory>/vault/store.json`, written before a change is answered. A restart does not seal it (auto-unseal); who
sealed it must unseal it. Without the file it is not initialised, as after a lost volume.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from veloz_chaos.sandbox.process import write_atomically

#: The exchange credentials of the gateway, as a KV v2 path, and the role of its leased credential.
API_SECRET, ROLE = "veloz/exchange", "gateway"
TOKEN = "token"


@dataclass
class Version:
    created_time: str
    data: dict[str, Any]


@dataclass
class Store:
    """`secrets` by path, oldest version first; `leases` by id, each with the second since the epoch it ends at."""

    file: Path
    token: str = ""
    unseal_key: str = ""
    sealed: bool = False
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    leases: dict[str, float] = field(default_factory=dict)

    @property
    def initialized(self) -> bool:
        return bool(self.token)

    def save(self) -> None:
        fields = {name: value for name, value in asdict(self).items() if name != "file"}
        write_atomically(self.file, json.dumps(fields))

    def initialize(self, token: str = "") -> None:
        self.token, self.unseal_key = token or f"hvs.{secrets.token_hex(12)}", secrets.token_hex(16)
        self.save()

    def seal(self, sealed: bool) -> None:
        self.sealed = sealed
        self.save()

    def put(self, path: str, data: dict[str, Any]) -> int:
        """The number of the version that this makes."""
        versions = self.secrets.setdefault(path, [])
        versions.append(Version(datetime.now(UTC).isoformat().replace("+00:00", "Z"), data))
        self.save()
        return len(versions)

    def version(self, path: str, number: int = 0) -> tuple[int, Version] | None:
        """That version, the newest for 0, and its number."""
        versions = self.secrets.get(path, [])
        number = number or len(versions)
        return (number, versions[number - 1]) if 0 < number <= len(versions) else None

    def lease(self, role: str, seconds: float) -> str:
        now = time.time()
        self.leases = {lease: end for lease, end in self.leases.items() if end > now}
        lease = f"database/creds/{role}/{secrets.token_hex(12)}"
        self.leases[lease] = now + seconds
        self.save()
        return lease

    def renew(self, lease: str, seconds: float) -> bool:
        """False if there is no such lease, or it has ended."""
        if self.leases.get(lease, 0.0) <= time.time():
            return False
        self.leases[lease] = time.time() + seconds
        self.save()
        return True

    def revoke(self, lease: str) -> None:
        self.leases.pop(lease, None)
        self.save()


def read(file: Path) -> Store:
    """As it was left; not initialised if nothing was."""
    if not file.exists():
        return Store(file)
    fields = json.loads(file.read_text())
    kept = {path: [Version(**version) for version in versions] for path, versions in fields.pop("secrets").items()}
    return Store(file, **fields, secrets=kept)


def leave(folder: Path, token: str = "") -> None:
    """A Vault that is ready to be used, with the gateway's secret in it, and its token beside it for the gateway."""
    folder.mkdir(mode=0o700, exist_ok=True)
    store = Store(folder / "store.json")
    store.initialize(token)
    store.put(API_SECRET, new_api_secret())
    (folder / TOKEN).write_text(store.token)


def new_api_secret() -> dict[str, str]:
    return {"api_key": f"sandbox-{secrets.token_hex(8)}", "api_secret": secrets.token_hex(16)}
