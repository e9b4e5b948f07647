"""What the gateway says of its database and its Vault: in log, truth log and event stream, at the moment it happens."""

from __future__ import annotations

import logging

from veloz_chaos.sandbox.event_stream import EventStream
from veloz_chaos.sandbox.truth import TruthLog

log = logging.getLogger("gateway")


class News:
    """Listens to both `Persistence` and `Credentials`."""

    def __init__(self, truth: TruthLog, events: EventStream) -> None:
        self._truth, self._events = truth, events

    def database_lost(self, why: str) -> None:
        self._truth.write("database-lost", why=why)
        log.error("database lost: %s; going on in memory", why)
        self._events.publish("database", {"status": "unavailable"})

    def database_still_away(self, attempt: int, why: str) -> None:
        log.warning("database is not to be had, attempt %d: %s; going on in memory", attempt, why)

    def database_back(self, pending: int) -> None:
        self._truth.write("database-back", pending=pending)
        log.info("database connected, %d records to write", pending)
        self._events.publish("database", {"status": "ok"})

    def database_synchronised(self) -> None:
        self._truth.write("database-synchronised")
        log.info("database synchronised")

    def vault(self, status: str, source: str, why: str) -> None:
        self._truth.write("vault-status", status=status, credentials=source, why=why)
        level = logging.INFO if status == "ok" else logging.WARNING
        log.log(level, "vault is %s, credentials: %s (%s)", status, source, why)
        self._events.publish("vault", {"status": status})

    def rotated(self, version: int) -> None:
        self._truth.write("secret-rotated", version=version)
        log.info("exchange credentials rotated, version %d", version)
