"""Ask a database one question: PostgreSQL over a new connection, or a file of SQLite.

The transaction is read-only and the statement has a time-out of its own at the server, so that a look leaves nothing
behind, neither rows nor a query that runs on. The password comes from a secret and is never written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import dsn as dsns
from veloz_chaos.mechanisms.aside import aside
from veloz_chaos.mechanisms.dial import addresses, why

#: What a text may have in a `sql: …`.
LONGEST = 160


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Sql(Probe):
    """`value`: the first column of the first row, `json`: the row as {column: value}.

    `dsn`: `postgresql://user:${env:PASSWORD}@host:5432/name`, `sqlite:///relative/path` or `sqlite:////absolute/path`.
    Numbers are numbers, instants are timestamps (those without a zone UTC's), what CEL has no type for is text.
    `error`: refused, reset, unreachable, dns, closed, auth, missing (the file), no row, `sql: …` (the server's words).
    """

    dsn: str
    query: str

    def __post_init__(self) -> None:
        dsns.check(self.dsn)
        if not self.query.strip():
            raise ValueError("give a query that yields a row")

    def address(self) -> str:
        """The database as it is written, templates unfilled."""
        return self.dsn

    async def look(self, eye: Eye) -> Seen:
        place, query = dsns.filled(self.dsn, eye.fill), eye.fill(self.query)
        async with asyncio.timeout(eye.timeout.total_seconds()):
            if isinstance(place, dsns.File):
                return await _file(place, query, eye.timeout)
            try:
                return await _server(place, query, eye.timeout)
            except OSError as error:
                return Seen(error=why(error))


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _driver() -> Any:
    """asyncpg. A look that is cut short in the moment in which its connection is made leaves the question for TLS,
    which asyncpg has at hand by then, to nobody."""
    import asyncpg
    from asyncpg import connect_utils

    class Question(connect_utils.TLSUpgradeProto):
        def __init__(self, *told: Any, **more: Any) -> None:
            super().__init__(*told, **more)
            self.on_data.add_done_callback(_heeded)

    connect_utils.TLSUpgradeProto = Question  # type: ignore[misc]
    return asyncpg


def _heeded(done: asyncio.Future[Any]) -> None:
    """An error that nobody waits for any more is no news for stderr."""
    if not done.cancelled():
        done.exception()


async def _server(place: dsns.Server, query: str, timeout: timedelta) -> Seen:
    """Raises OSError, TimeoutError."""
    asyncpg = _driver()
    try:
        connection = await asyncpg.connect(**await _arguments(place), timeout=timeout.total_seconds())
        try:
            return _seen(await _row(connection, query, timeout))
        finally:
            connection.terminate()
    except asyncpg.QueryCanceledError:
        raise TimeoutError from None
    except asyncpg.InvalidAuthorizationSpecificationError:
        return Seen(error="auth")
    except asyncpg.PostgresConnectionError:
        return Seen(error="closed")
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return Seen(error=_said(error))


async def _arguments(place: dsns.Server) -> dict[str, Any]:
    """The host is looked up by us, for the driver would do so where a hanging resolver holds up every other look."""
    hosts = [place.host] if place.by_name else [each[4][0] for each in await addresses(place.host, place.port)]
    return {"dsn": place.dsn, "host": list(dict.fromkeys(hosts)), "port": place.port, "user": place.user,
            "password": place.password, "database": place.database, "statement_cache_size": 0}  # fmt: skip


async def _row(connection: Any, query: str, timeout: timedelta) -> Mapping[str, Any] | None:
    """A look that is cut short cuts the connection: asking the server to cancel would take another one."""

    async def ask() -> Any:
        within = max(1, int(timeout.total_seconds() * 1000))
        await connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {within}")
        return await connection.fetchrow(query)

    asking = asyncio.create_task(ask())
    asking.add_done_callback(_heeded)
    try:
        await asyncio.wait([asking])
    finally:
        if not asking.done():
            connection.terminate()
    return asking.result()  # type: ignore[no-any-return]


# --- SQLite --------------------------------------------------------------------------------------------------------


async def _file(place: dsns.File, query: str, timeout: timedelta) -> Seen:
    import sqlite3

    try:
        row = await aside(_asked_of(place, query, timeout), sqlite3.Error, sqlite3.Warning)
        return _seen(row)
    except FileNotFoundError:
        return Seen(error="missing")
    except (OSError, sqlite3.Error, sqlite3.Warning) as error:
        if isinstance(error, TimeoutError):
            raise
        return Seen(error=_said(error))


def _asked_of(place: dsns.File, query: str, timeout: timedelta) -> Callable[[], Mapping[str, Any] | None]:
    def ask() -> Mapping[str, Any] | None:
        import sqlite3
        import time

        place.path.stat()
        over = time.monotonic() + timeout.total_seconds()
        connection = sqlite3.connect(
            f"{place.path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout.total_seconds()
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.set_progress_handler(lambda: time.monotonic() > over, 10_000)
            row = connection.execute(query).fetchone()
            return None if row is None else dict(row)
        finally:
            connection.close()

    return ask


# --- both ----------------------------------------------------------------------------------------------------------


def _seen(row: Mapping[str, Any] | None) -> Seen:
    if row is None:
        return Seen(error="no row")
    cells = {name: _plain(value) for name, value in row.items()}
    return Seen(value=next(iter(cells.values()), None), json=cells)


def _plain(value: Any) -> Any:
    """What a condition can work with."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value() and abs(value) < 2**63
        return int(value) if whole and value.as_tuple().exponent >= 0 else float(value)  # type: ignore[operator]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | timedelta):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def _said(error: Exception) -> str:
    return f"sql: {' '.join(str(error).split())[:LONGEST]}"


PROBE = Sql
