"""The stand-in for PostgreSQL where none is installed: JSON lines over TCP in front of one SQLite file.

A line is `{"write": {"audit": [row, …], "orders": [row, …]}}`, one transaction, answered `{"ok": true}`; or
`{"newest": true}`, answered with the time of the newest order's audit, 0 if there is none. Rows are those of
`database_client`. A connection that begins with PostgreSQL's SSLRequest is answered N, as PostgreSQL does, so that one
ping fits both. Whoever connects can write rows, and no SQL.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from typing import Any

from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.settings import DATABASE_SERVER, Settings
from veloz_chaos.sandbox.truth import TruthLog

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
LONGEST_LINE = 1 << 24
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS audit (id TEXT PRIMARY KEY, at REAL, kind TEXT, client_order_id TEXT, detail TEXT);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
CREATE TABLE IF NOT EXISTS orders (client_order_id TEXT PRIMARY KEY, at REAL, symbol TEXT, side TEXT, type TEXT,
  qty TEXT, price TEXT, status TEXT, order_id INTEGER, executed_qty TEXT, time_in_force TEXT, quote_qty TEXT);
CREATE VIEW IF NOT EXISTS audit_age AS SELECT (julianday('now') - 2440587.5) * 86400.0 - max(at) AS seconds FROM audit;
"""
AUDIT = "INSERT OR IGNORE INTO audit VALUES (?, ? / 1e9, ?, ?, ?)"
ORDERS = """
INSERT INTO orders VALUES (?, ? / 1e9, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client_order_id) DO UPDATE SET
  at = excluded.at, status = excluded.status, order_id = excluded.order_id, executed_qty = excluded.executed_qty,
  quote_qty = excluded.quote_qty
  WHERE orders.at <= excluded.at
"""
NEWEST = "SELECT coalesce(max(at), 0) FROM audit WHERE kind = 'order'"


class Database:
    """The file, and what the lines ask of it."""

    def __init__(self, path: str) -> None:
        self._file = sqlite3.connect(path, timeout=5)
        self._file.executescript(SCHEMA)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Raises KeyError, TypeError or sqlite3.Error for a wrong question."""
        if "newest" in asked:
            return {"ok": True, "newest": self._file.execute(NEWEST).fetchone()[0]}
        with self._file:
            self._file.executemany(AUDIT, asked["write"]["audit"])
            self._file.executemany(ORDERS, asked["write"]["orders"])
        return {"ok": True}

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _answer_each(reader, writer, self._line)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            writer.close()

    def _line(self, line: bytes) -> bytes:
        try:
            reply = self.answer(json.loads(line))
        except (ValueError, KeyError, TypeError, sqlite3.Error) as problem:
            reply = {"ok": False, "error": f"{type(problem).__name__}: {problem}"}
        return json.dumps(reply).encode() + b"\n"


async def _answer_each(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[bytes], bytes]
) -> None:
    """The first byte tells: a line begins with a brace, PostgreSQL's requests with a length."""
    while first := await reader.read(1):
        if first == SSL_REQUEST[:1]:
            await reader.readexactly(len(SSL_REQUEST) - 1)
            writer.write(b"N")
        else:
            writer.write(answer(first + await reader.readuntil(b"\n")))
        await writer.drain()


async def serve(settings: Settings, stop: asyncio.Event, truth: TruthLog) -> None:
    folder = settings.directory / "database"
    folder.mkdir(exist_ok=True)
    database = Database(str(folder / "stand-in.db"))
    port = settings.ports["database"]
    server = await asyncio.start_server(database.converse, settings.listen, port, limit=LONGEST_LINE)
    process.record(settings.directory, DATABASE_SERVER, os.getpid())
    truth.write("serving", pid=os.getpid(), server=os.getpid())
    process.ready()
    await stop.wait()
    server.close()
