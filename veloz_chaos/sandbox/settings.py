"""The sandbox's one settings file, `<directory>/sandbox.json`: written once by `up`, read by every process.

Where each service runs is no matter of the file: there all are on loopback. In containers (`container.py`) each has a
host of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

#: What the supervisor keeps running, in the order it starts them.
SERVICES = ("database", "vault", "engine", "exchange", "dns", "faults", "links", "gateway")
#: The pid file of the database's own server, a child of the service.
DATABASE_SERVER = "database-server"
#: What it keeps running besides, where monitoring is asked for.
MONITORS = ("catcher", "alertmanager", "prometheus")

#: The fixed ports. `*-link` is where the gateway connects; `links` is the API of the TCP links, `faults` that of the
#: HTTP and DNS fault proxy, whose HTTP side (`exchange-api`) stands between the exchange's link and the exchange.
PORTS: Mapping[str, int] = {
    "gateway": 18080,
    "exchange": 18081,
    "engine": 18082,
    "exchange-link": 18083,
    "engine-link": 18084,
    "supervisor": 18085,
    "exchange-api": 18086,
    "database": 18087,
    "database-link": 18088,
    "vault": 18089,
    "vault-link": 18090,
    "dns": 18091,
    "dns-link": 18092,
    "faults": 18475,
    "links": 18474,
}
MONITOR_PORTS: Mapping[str, int] = {"prometheus": 18093, "alertmanager": 18094, "catcher": 18095}
FILE = "sandbox.json"
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"


@dataclass(frozen=True)
class Settings:
    """`made` lists the directories that `up` created, outermost first; `weight_limit` is the exchange's, per minute;
    `owner` is the pid of a run that started the sandbox for itself: it does not outlive that one for long;
    `group` names its control group, `emulated` says that its limits are not to be the kernel's, even where we may."""

    directory: Path
    ports: Mapping[str, int]
    flaws: tuple[str, ...] = ()
    made: tuple[Path, ...] = ()
    weight_limit: int = 60_000
    owner: int | None = None
    #: Base backups and an archive of the database's log; the disks of the site can be lost.
    backups: bool = False
    #: "postgresql" or "stand-in"; how long a credential leased from Vault lives, in seconds.
    database: str = "postgresql"
    lease: float = 30.0
    group: str = ""
    emulated: bool = False
    #: Where others are, by the names of their ports; who is not here is on loopback. Where one listens oneself.
    hosts: Mapping[str, str] = field(default_factory=dict)
    listen: str = LOOPBACK
    #: Alone in a container: its limits are the platform's, and what it logs is read from its output too.
    contained: bool = False

    def host(self, name: str) -> str:
        return self.hosts.get(name, LOOPBACK)

    def has(self, flaw: str) -> bool:
        return flaw in self.flaws

    @property
    def monitored(self) -> bool:
        return "prometheus" in self.ports

    @property
    def services(self) -> tuple[str, ...]:
        return (*SERVICES, *MONITORS) if self.monitored else SERVICES


def in_pod(environment: Mapping[str, str]) -> bool:
    return "KUBERNETES_SERVICE_HOST" in environment


def to_json(settings: Settings) -> str:
    fields = {
        "version": 1,
        "ports": dict(settings.ports),
        "flaws": list(settings.flaws),
        "made": [str(path) for path in settings.made],
        "weight_limit": settings.weight_limit,
        "owner": settings.owner,
        "database": settings.database,
        "lease": settings.lease,
        "group": settings.group,
        "emulated": settings.emulated,
        "backups": settings.backups,
    }
    return json.dumps(fields, indent=2) + "\n"


def from_json(directory: Path, text: str) -> Settings:
    fields: dict[str, Any] = json.loads(text)
    settings = Settings(directory, fields["ports"], tuple(fields["flaws"]), tuple(map(Path, fields["made"])))
    settings = replace(settings, database=fields["database"], lease=fields["lease"])
    settings = replace(settings, group=fields["group"], emulated=fields["emulated"], backups=fields["backups"])
    return replace(settings, weight_limit=fields["weight_limit"], owner=fields["owner"])


def read(directory: Path) -> Settings:
    """The settings of the sandbox in a directory. Raises FileNotFoundError where there is none."""
    return from_json(directory, (directory / FILE).read_text())
