"""The gateway's connection to its database: PostgreSQL by asyncpg, or the stand-in's lines. Nothing waits for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from veloz_chaos.sandbox.settings import LOOPBACK

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
#: Seconds for a connection, and for a statement.
PATIENCE = 1.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (id text PRIMARY KEY, at timestamptz, kind text, client_order_id text, detail text);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
CREATE TABLE IF NOT EXISTS orders (client_order_id text PRIMARY KEY, at timestamptz, symbol text, side text, type text,
  qty text, price text, status text, order_id bigint, executed_qty text, time_in_force text, quote_qty text);
CREATE OR REPLACE VIEW audit_age AS SELECT extract(epoch FROM now() - max(at))::float8 AS seconds FROM audit;
"""
#: One statement, so that it is whole or not at all, and one round trip.
WRITE = """
WITH written AS (
  INSERT INTO audit SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[])
  ON CONFLICT DO NOTHING)
INSERT INTO orders SELECT * FROM unnest($6::text[], $7::timestamptz[], $8::text[], $9::text[], $10::text[],
  $11::text[], $12::text[], $13::text[], $14::bigint[], $15::text[], $16::text[], $17::text[])
ON CONFLICT (client_order_id) DO UPDATE SET at = excluded.at, status = excluded.status, order_id = excluded.order_id,
  executed_qty = excluded.executed_qty, quote_qty = excluded.quote_qty WHERE orders.at <= excluded.at
"""
NEWEST = "SELECT coalesce(extract(epoch FROM max(at)), 0)::float8 FROM audit WHERE kind = 'order'"


class Audit(NamedTuple):
    """Who or what did what, when; `at` in nanoseconds since the epoch. The same `id` is written once."""

    id: str
    at: int
    kind: str
    client_order_id: str
    detail: str


class OrderRow(NamedTuple):
    """The state of an order at an instant; a later one replaces it."""

    client_order_id: str
    at: int
    symbol: str
    side: str
    type: str
    qty: str
    price: str
    status: str
    order_id: int | None
    executed_qty: str
    time_in_force: str
    quote_qty: str


class DatabaseAway(Exception):
    """It could not be reached, did not answer in time, or refused; the message says which."""


class Connection(Protocol):
    async def newest(self) -> float:
        """Seconds since the epoch of the newest order's audit; 0 if there is none. Raises DatabaseAway."""

    async def write(self, audit: Sequence[Audit], orders: Sequence[OrderRow]) -> None:
        """All of it or nothing; an order at most once. Raises DatabaseAway."""

    def close(self) -> None:
        """At once, without a word."""


async def connect(kind: str, port: int, host: str = LOOPBACK) -> Connection:
    """Raises DatabaseAway."""
    return await (PostgreSQL.connect(port, host) if kind == "postgresql" else StandIn.connect(port, host))


class PostgreSQL:
    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, port: int, host: str) -> PostgreSQL:
        import asyncpg

        place = f"postgresql://veloz@{host}:{port}/veloz"
        made = cls(await _bounded(asyncpg.connect(place, ssl=False, timeout=PATIENCE, command_timeout=PATIENCE)))
        try:
            await _bounded(made._connection.execute(SCHEMA))
        except DatabaseAway:
            made.close()
            raise
        return made

    async def newest(self) -> float:
        found: float = await _bounded(self._connection.fetchval(NEWEST))
        return found

    async def write(self, audit: Sequence[Audit], orders: Sequence[OrderRow]) -> None:
        columns = (*_columns(audit, len(Audit._fields)), *_columns(orders, len(OrderRow._fields)))
        await _bounded(self._connection.execute(WRITE, *columns))

    def close(self) -> None:
        self._connection.terminate()


def _columns(rows: Sequence[Audit] | Sequence[OrderRow], width: int) -> list[list[object]]:
    """The rows, turned; instants as PostgreSQL takes them."""
    columns: list[list[object]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
    columns[1] = [datetime.fromtimestamp(row.at / 1e9, UTC) for row in rows]
    return columns


async def _bounded(statement: Coroutine[Any, Any, T]) -> T:
    """What it gives. Raises DatabaseAway for whatever asyncpg says went wrong."""
    import asyncpg

    try:
        return await statement
    except (OSError, EOFError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as problem:
        raise DatabaseAway(worded(problem)) from None


class StandIn:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int, host: str) -> StandIn:
        try:
            async with asyncio.timeout(PATIENCE):
                return cls(*await asyncio.open_connection(host, port))
        except OSError as problem:
            raise DatabaseAway(worded(problem)) from None

    async def newest(self) -> float:
        return float((await self._ask({"newest": True}))["newest"])

    async def write(self, audit: Sequence[Audit], orders: Sequence[OrderRow]) -> None:
        await self._ask({"write": {"audit": audit, "orders": orders}})

    async def _ask(self, question: dict[str, object]) -> dict[str, Any]:
        try:
            self._writer.write(json.dumps(question).encode() + b"\n")
            async with asyncio.timeout(PATIENCE):
                reply: dict[str, Any] = json.loads(await self._reader.readuntil(b"\n"))
        except (OSError, EOFError, ValueError) as problem:
            raise DatabaseAway(worded(problem)) from None
        if not reply["ok"]:
            raise DatabaseAway(reply["error"])
        return reply

    def close(self) -> None:
        self._writer.transport.abort()


def worded(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {PATIENCE} s"
    return f"{type(problem).__name__}: {problem}"
