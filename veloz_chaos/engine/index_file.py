"""The SQLite file that an index is kept in: its tables, its rows, and what is done where it can't be had.

A file that can't be written, or that a newer version wrote, is left alone: the same is then done in memory. One that is
damaged is made again; nothing is lost with it.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from veloz_chaos.core.record import Record, Time, time_of

#: In the folder of the runs; writing in it leaves that folder's own time of change alone.
FOLDER, FILE = ".history", "index.sqlite"
#: Of the tables below. Another number: made again.
SCHEMA = 2
#: So long is waited for another process. Seconds.
_PATIENCE = 20.0

_TABLES = """
CREATE TABLE runs (
  folder TEXT PRIMARY KEY, run TEXT, started REAL, host TEXT, version TEXT, experiment TEXT, environment TEXT,
  tier TEXT, row TEXT, parameters TEXT, placebo INTEGER, emulated INTEGER, schedule TEXT, entry TEXT, due REAL,
  verdict TEXT, reason TEXT,
  detection TEXT, detected_least INTEGER, detected_most INTEGER, detection_limit INTEGER,
  recovery TEXT, recovered_least INTEGER, recovered_most INTEGER, recovery_limit INTEGER,
  more TEXT,
  UNIQUE (run, started)
) WITHOUT ROWID;
CREATE INDEX by_time ON runs (started);
CREATE INDEX by_experiment ON runs (experiment, started);
CREATE INDEX by_place ON runs (experiment, environment, started);
CREATE INDEX by_verdict ON runs (verdict, started);
CREATE INDEX by_kind ON runs (experiment, environment, verdict, placebo);
CREATE INDEX by_occasion ON runs (schedule, entry, due);
-- what may still change: runs without an end, folders without a journal, journals that can't be read
CREATE TABLE open (
  folder TEXT PRIMARY KEY, size INTEGER, changed INTEGER, problem TEXT, boot TEXT, pid INTEGER, pid_start INTEGER
) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""
_COLUMNS = 26
INSERT = f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * _COLUMNS)})"


def place(runs: Path) -> Path:
    return runs / FOLDER / FILE


def database(runs: Path, notes: list[str], *, again: bool = False) -> sqlite3.Connection:
    """The file; or memory, with what the file holds. `again`: with nothing in it. `notes`: what is not as usual."""
    path = place(runs)
    if not runs.is_dir():
        return memory()
    try:
        path.parent.mkdir(exist_ok=True)
        return _file(path, again=again)
    except _Newer as newer:
        notes.append(f"{path}: made by a newer veloz-chaos ({newer}); left alone, read from the journals this time")
        return memory()
    except sqlite3.OperationalError as error:
        notes.append(f"{path}: can't be written ({error}); kept in memory this time")
    except OSError as error:
        notes.append(f"{path}: can't be written ({error.strerror}); kept in memory this time")
    except sqlite3.DatabaseError as error:
        notes.append(f"{path}: damaged ({error}); made again from the journals")
        with suppress(OSError):
            remove(path)
            return _file(path)
    return memory() if again else _copied(path)


class _Newer(Exception):
    """Its argument is the schema's number."""


def _file(path: Path, *, again: bool = False) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        if schema > SCHEMA:
            raise _Newer(schema)
        if schema != SCHEMA or again:
            _create(database)
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _create(database: sqlite3.Connection) -> None:
    for kind, name in database.execute("SELECT type, name FROM sqlite_master WHERE type = 'table'").fetchall():
        database.execute(f"DROP {kind} {name}")
    for statement in _TABLES.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {SCHEMA}")


def memory() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None)
    _create(database)
    return database


def _copied(path: Path) -> sqlite3.Connection:
    """In memory, with what a file that can only be read says."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    with suppress(sqlite3.DatabaseError, OSError):
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            if source.execute("PRAGMA user_version").fetchone() == (SCHEMA,):
                source.backup(database)
                return database
        finally:
            source.close()
    database.close()
    return memory()


def remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def instead(runs: Path, notes: list[str], error: sqlite3.DatabaseError) -> sqlite3.Connection:
    """For a file that could be opened and not be used."""
    path = place(runs)
    if isinstance(error, sqlite3.OperationalError):
        notes.append(f"{path}: can't be used ({error}); kept in memory this time")
        return _copied(path)
    notes.append(f"{path}: damaged ({error}); made again from the journals")
    with suppress(OSError, sqlite3.DatabaseError):
        remove(path)
        return _file(path)
    return memory()


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def row_of(r: Record) -> tuple[Any, ...]:
    return (
        r.folder, r.run, r.started, r.host, r.version, r.experiment, r.environment, r.tier, r.row,
        json.dumps(r.parameters, sort_keys=True) if r.parameters else "{}", r.placebo, r.emulated, r.schedule, r.entry,
        r.due, r.verdict, r.reason, *_time_row(r.detection), *_time_row(r.recovery),
        json.dumps({name: _time_row(time) for name, time in r.more.items()}) if r.more else "{}",
    )  # fmt: skip


def _time_row(time: Time | None) -> tuple[Any, ...]:
    if time is None:
        return None, None, None, None
    m = time.measured
    return time.verdict, m and m.at_least, None if m is None or math.isinf(m.at_most) else m.at_most, time.limit


def record_of(row: tuple[Any, ...]) -> Record:
    return Record(
        folder=row[0], run=row[1], started=row[2], host=row[3], version=row[4], experiment=row[5], environment=row[6],
        tier=row[7], row=row[8], parameters=_mapping(row[9]), placebo=bool(row[10]), emulated=bool(row[11]),
        schedule=row[12], entry=row[13], due=row[14], verdict=row[15], reason=row[16],
        detection=time_of(*row[17:21]) if row[17] else None, recovery=time_of(*row[21:25]) if row[21] else None,
        more={name: time_of(*said) for name, said in _mapping(row[25]).items()},
    )  # fmt: skip


def _mapping(text: str) -> Mapping[str, Any]:
    return json.loads(text) if text != "{}" else {}
