"""All runs of a folder in one SQLite file beside them, made from their journals and thrown away at any time.

The journals are the truth. What a query finds is up to date: folders that came since are read, those that went are
dropped, and a run that was not over is looked at again. A journal that says its end never changes, so it is read once;
whether folders came or went, the time of change of the folder of all runs tells.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veloz_chaos.core.record import Record
from veloz_chaos.engine import index_file, records
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import proc

#: A folder that changed this shortly before it was listed may have changed again within one tick of its clock. ns
_RACY = 2_000_000_000
#: Seconds between two commits, so that another process waits no longer than that.
_BATCH = 0.5
#: So many journals to read are told of: it may take a while.
_MANY = 1000
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Query:
    """Which runs; None and empty: all. `since` and `until` in seconds since 1970."""

    experiments: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    placebos: bool = True
    schedule: str | None = None
    limit: int | None = None


@dataclass
class Index:
    """Open; `problems` are the folders that hold no readable run, with the reason."""

    runs: Path
    tell: Tell = lambda _: None
    notes: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    #: journals that were read to bring it up to date
    read: int = 0
    _database: sqlite3.Connection = field(init=False, repr=False)

    def find(self, query: Query) -> list[Record]:
        """The latest first."""
        where, values = _where(query)
        limit = "" if query.limit is None else f" LIMIT {int(query.limit)}"
        rows = self._rows(f"SELECT * FROM runs{where} ORDER BY started DESC, folder DESC{limit}", values)
        return [index_file.record_of(row) for row in rows]

    def count(self, query: Query) -> dict[tuple[str, str, str], int]:
        """(experiment, environment, verdict) -> how many."""
        where, values = _where(query)
        rows = self._rows(
            f"SELECT experiment, environment, verdict, COUNT(*) FROM runs{where} GROUP BY 1, 2, 3", values
        )
        return {(experiment, environment, verdict): n for experiment, environment, verdict, n in rows}

    def unsettled(self) -> set[str]:
        """Folders of runs whose journal does not say that all is over, and those that can't be read."""
        return {folder for (folder,) in self._rows("SELECT folder FROM open", ())}

    def same(self, run: str, started: float) -> Record | None:
        """The run under whatever name its folder bears."""
        rows = self._rows("SELECT * FROM runs WHERE run = ? AND started = ?", (run, started))
        return index_file.record_of(rows[0]) if rows else None

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """A file may turn out to be damaged only where it is read."""
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            _start_over(self, error)
        return self._database.execute(statement, values).fetchall()

    def close(self) -> None:
        self._database.close()


def _where(query: Query) -> tuple[str, list[Any]]:
    clauses: list[str] = []
    values: list[Any] = []
    sets = {"experiment": query.experiments, "environment": query.environments, "verdict": query.verdicts}
    for column, wanted in sets.items():
        if wanted:
            clauses.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    for clause, value in (
        ("started >= ?", query.since),
        ("started < ?", query.until),
        ("schedule = ?", query.schedule),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    if not query.placebos:
        clauses.append("placebo = 0")
    return (" WHERE " + " AND ".join(clauses) if clauses else ""), values


@contextmanager
def opened(runs: Path, tell: Tell = lambda _: None, *, again: bool = False) -> Iterator[Index]:
    """Up to date; a folder that is not there holds no runs. `again`: everything is read anew. `tell` hears of what
    takes a while. Raises UsageError for what is no folder."""
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"{runs}: not a folder; runs are kept in one")
    index = Index(runs, tell)
    index._database = index_file.database(runs, index.notes, again=again)
    try:
        try:
            _bring_up_to_date(index)
        except sqlite3.DatabaseError as error:
            _start_over(index, error)
        yield index
    finally:
        index.close()


def _start_over(index: Index, error: sqlite3.DatabaseError) -> None:
    """A file that could be opened and not be used."""
    index.close()
    index.problems.clear()
    index._database = index_file.instead(index.runs, index.notes, error)
    _bring_up_to_date(index)


# --- up to date ----------------------------------------------------------------------------------------------------


def _bring_up_to_date(index: Index) -> None:
    """Raises sqlite3.DatabaseError for a file that can't be used."""
    database, runs = index._database, index.runs
    changed = _changed(runs)
    new: set[str] = set()
    if changed is None or changed != _state(database):
        new = _compare(index)
    _read(index, [*sorted(new), *(folder for folder in _stale(index) if folder not in new)])
    if changed != _state(database):
        with index_file.transaction(database):
            database.execute("INSERT OR REPLACE INTO state VALUES ('changed', ?)", (changed,))
    _resolve(index)
    for name, problem in database.execute("SELECT folder, problem FROM open WHERE problem != '' ORDER BY folder"):
        index.problems[name] = problem


def _read(index: Index, names: Sequence[str]) -> None:
    if len(names) >= _MANY:
        index.tell(f"reading {len(names)} journals that {index.runs} has and its index has not")
    left = list(reversed(names))
    while left:
        until = time.monotonic() + _BATCH
        with index_file.transaction(index._database):
            while left and time.monotonic() < until:
                _take_in(index, left.pop())


def _changed(runs: Path) -> int | None:
    """The time of change of the folder of all runs; None if it is too young to be believed."""
    try:
        changed = runs.stat().st_mtime_ns
    except OSError:
        return 0
    return changed if time.time_ns() - changed > _RACY else None


def _state(database: sqlite3.Connection) -> int | None:
    row = database.execute("SELECT value FROM state WHERE name = 'changed'").fetchone()
    return row[0] if row else None


def _compare(index: Index) -> set[str]:
    """Folders that are not known yet; those that went are dropped."""
    database = index._database
    there = _names(index.runs)
    known = _known(database, "runs") | _known(database, "open")
    gone = known - there
    if gone:
        with index_file.transaction(database):
            for table in ("runs", "open"):
                database.executemany(f"DELETE FROM {table} WHERE folder = ?", ((name,) for name in gone))
            database.execute("UPDATE open SET size = 0 WHERE problem != ''")  # its twin may be the one that went
    return {name for name in there - known if name[0] != "." and (index.runs / name).is_dir()}


def _known(database: sqlite3.Connection, table: str) -> set[str]:
    """In one text, which is several times as quick; no name has a slash in it."""
    (names,) = database.execute(f"SELECT group_concat(folder, '/') FROM {table}").fetchone()
    return set(names.split("/")) if names else set()


def _names(runs: Path) -> set[str]:
    """Whatever is there: what begins with a dot is ours, or half copied, and no run."""
    try:
        return set(os.listdir(runs))  # noqa: PTH208  # a hundred thousand names, and no paths of them
    except FileNotFoundError:
        return set()


def _stale(index: Index) -> list[str]:
    """What may change, and did."""
    rows = index._database.execute("SELECT folder, size, changed FROM open").fetchall()
    return [name for name, size, changed in rows if records.signature(index.runs / name) != _pair(size, changed)]


def _pair(size: int | None, changed: int | None) -> tuple[int, int] | None:
    return None if size is None or changed is None else (size, changed)


def _take_in(index: Index, name: str) -> None:
    database, folder = index._database, index.runs / name
    signature = records.signature(folder)
    found: records.Found | None = None
    problem = ""
    if signature is not None:
        index.read += 1
        try:
            found = records.read(folder)
        except UsageError as error:
            problem = str(error)
        except (OSError, ValueError, KeyError) as error:
            problem = f"{folder}: {error}"
    if found is not None and (twin := _twin(database, found.record)):
        found, problem = None, f"{folder}: the same run as {index.runs / twin}; counted once"
    database.execute("DELETE FROM open WHERE folder = ?", (name,))
    if found is not None:
        database.execute(index_file.INSERT, index_file.row_of(found.record))
    else:
        database.execute("DELETE FROM runs WHERE folder = ?", (name,))
    if found is None or not found.settled:
        runner = (found.runner if found else None) or (None, None, None)
        database.execute(
            "INSERT INTO open VALUES (?, ?, ?, ?, ?, ?, ?)", (name, *(signature or (None, None)), problem, *runner)
        )


def _twin(database: sqlite3.Connection, record: Record) -> str | None:
    which = record.run, record.started, record.folder
    row = database.execute("SELECT folder FROM runs WHERE run = ? AND started = ? AND folder != ?", which).fetchone()
    return row[0] if row else None


def _resolve(index: Index) -> None:
    """Do the runners of runs without an end still live?"""
    database = index._database
    rows = database.execute("SELECT folder, boot, pid, pid_start FROM open WHERE pid IS NOT NULL").fetchall()
    if not rows:
        return
    boot = proc.boot_id()
    changes = []
    for folder, its_boot, pid, pid_start in rows:
        found = database.execute("SELECT * FROM runs WHERE folder = ?", (folder,)).fetchone()
        if found is None:
            continue
        record = index_file.record_of(found)
        runner = records.Runner(its_boot, pid, pid_start)
        now = records.resolved(records.Found(record, False, runner), its_boot == boot and proc.alive(pid, pid_start))
        if now != record:
            changes.append(index_file.row_of(now))
    if changes:
        with index_file.transaction(database):
            database.executemany(index_file.INSERT, changes)
