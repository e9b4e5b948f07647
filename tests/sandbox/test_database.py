"""The database goes away in every way; the gateway goes on: nothing refused, nothing forgotten, all written later."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.infra.require import absent
from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, processes_of, until
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms import traffic
from veloz_chaos.sandbox import cluster, control, database, ports, unprivileged

pytestmark = pytest.mark.sandbox
#: How the link is hurt: what is sent to the links' API, and what undoes it.
STREAMS = ("upstream", "downstream")
SILENT = [("POST", "/toxics", {"type": "timeout", "stream": stream, "name": stream}) for stream in STREAMS]
RESET = [("POST", "/toxics", {"type": "reset_peer", "stream": stream, "name": stream}) for stream in STREAMS]
REFUSED: list[tuple[str, str, dict[str, Any]]] = [("POST", "", {"enabled": False})]
WAYS = pytest.mark.parametrize("way", [SILENT, RESET, REFUSED], ids=["silent", "reset", "refused"])


@pytest.fixture(autouse=True)
def installed() -> None:
    if database.kind() != database.POSTGRESQL:
        absent("postgresql", "no PostgreSQL that can be started here; apt-get install postgresql")


def part(stack: Stack) -> dict[str, Any]:
    answer = stack.gateway("/health")
    found: dict[str, Any] = answer.json["database"] if answer.status == 200 else {}
    return found


def away(stack: Stack) -> bool:
    return part(stack).get("status") == "unavailable"


def written(stack: Stack) -> bool:
    """Available, and nothing waits."""
    return bool(stack.healthy()) and part(stack).get("pending") == 0


@contextmanager
def cut(stack: Stack, link: str, way: list[tuple[str, str, dict[str, Any]]]) -> Iterator[None]:
    for method, path, body in way:
        assert stack.links(method, f"/proxies/{link}{path}", body).status == 200
    try:
        yield
    finally:
        assert stack.links("POST", "/reset").status == 204


def rows(stack: Stack, query: str) -> list[tuple[Any, ...]]:
    """What a query gives, asked past the link, as a probe asks."""
    if stack.sandbox.database == "stand-in":
        place = f"file:{stack.directory / 'database' / 'stand-in.db'}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as file:
            return file.execute(query).fetchall()
    return asyncio.run(_rows(stack.sandbox.ports["database"], query))


async def _rows(port: int, query: str, user: str = "veloz") -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(f"postgresql://{user}@127.0.0.1:{port}/veloz", timeout=10)
    try:
        return [tuple(record) for record in await connection.fetch(query)]
    finally:
        await connection.close()


def place(stack: Stack, *names: str) -> None:
    for name in names:
        answer = stack.order(name, time_in_force="GTC")
        assert answer.json["ok"], answer


def assert_all_written(stack: Stack) -> None:
    """Each order with its last state, and each of its states with one audit record."""
    until(lambda: written(stack))
    states = stack.gateway("/api/orders_state").json["orders"]
    assert dict(rows(stack, "SELECT client_order_id, status FROM orders")) == states
    saved = (stack.directory / "gateway" / "orders.jsonl").read_text().count('"client_order_id"')
    assert rows(stack, "SELECT count(*) FROM audit WHERE kind = 'order'") == [(saved,)]


def test_orders_and_their_audit_are_written(shared: Stack) -> None:
    until(lambda: part(shared)["synchronised"])
    told = part(shared)
    assert told == {"status": "ok", "pending": told["pending"], "synchronised": True, "kind": "postgresql"}
    place(shared, "kept")
    assert shared.gateway("/api/cancel", {"client_order_id": "kept"}).json["ok"]
    assert_all_written(shared)
    detail = rows(shared, "SELECT detail FROM audit WHERE client_order_id = 'kept' ORDER BY at")
    assert [text.rpartition(" ")[2] for (text,) in detail] == ["PENDING", "NEW", "CANCELED"]


def test_the_heartbeat_keeps_the_audit_young(shared: Stack) -> None:
    beats = "SELECT count(*) FROM audit WHERE kind = 'heartbeat'"
    [(before,)] = rows(shared, beats)
    until(lambda: rows(shared, beats)[0][0] >= before + 3)
    until(lambda: rows(shared, "SELECT seconds FROM audit_age")[0][0] < 0.5)


def test_nobody_connects_as_superuser(shared: Stack) -> None:
    port = shared.sandbox.ports["database"]
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match=r"no pg_hba\.conf entry"):
        asyncio.run(_rows(port, "SELECT 1", user="sandbox"))
    assert rows(shared, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]


def test_a_ping_passes_the_link(shared: Stack) -> None:
    address = ("127.0.0.1", shared.sandbox.ports["database-link"])
    assert traffic.pass_through(address, traffic.PostgreSQL(), 1, 10).outcome == "answered"


def test_an_order_that_cannot_be_stored_as_it_is_does_not_stop_the_audit(stack: Stack) -> None:
    stack.order("nul\0", time_in_force="GTC")
    place(stack, "after")
    until(lambda: written(stack))
    assert rows(stack, "SELECT count(*) FROM orders WHERE client_order_id IN ('nul?', 'after')") == [(2,)]


@pytest.mark.parametrize("victim", ["database", "database-server"])
def test_killed(stack: Stack, victim: str) -> None:
    with stack.unattended():
        stack.kill(victim, signal.SIGKILL)
        until(lambda: away(stack))
        place(stack, "meanwhile")
    assert_all_written(stack)
    assert "ERROR database lost: " in stack.log() and "INFO database synchronised" in stack.log()
    assert stack.service("database")["restarts"] == 1


@WAYS
def test_cut_off(stack: Stack, way: list[Any]) -> None:
    lost = "ERROR database lost: "
    before = stack.log().count(lost)  # a slow machine may have lost it already
    with cut(stack, "database", way):
        until(lambda: away(stack))
        assert stack.gateway("/health").json["status"] == "degraded"
        place(stack, *(f"meanwhile-{number}" for number in range(30)))
        assert part(stack)["pending"] >= 60
        assert not part(stack)["synchronised"]
        until(lambda: "WARNING database is not to be had, attempt 3" in stack.log())
        assert stack.log().count(lost) == before + 1
    assert_all_written(stack)
    until(lambda: part(stack)["synchronised"])
    events = ("database-back", "database-lost", "database-back", "database-synchronised")
    assert [stack.truth("gateway", event)[-1]["event"] for event in events] == list(events)
    assert max(event["pending"] for event in stack.truth("gateway", "database-back")) >= 60


def test_gateway_starts_without_it_and_remembers_for_it(stack: Stack) -> None:
    """What a crash took from the gateway's memory is written all the same."""
    with cut(stack, "database", REFUSED):
        until(lambda: away(stack))
        place(stack, "before")
        stack.kill("gateway", signal.SIGKILL)
        until(lambda: stack.service("gateway")["restarts"] == 1 and part(stack))
        assert away(stack)
        until(lambda: "database is not to be had, attempt 1" in stack.log())
        until(lambda: stack.gateway("/health").json["exchange"]["status"] == "ok")
        place(stack, "after")
    assert_all_written(stack)


def test_what_was_written_is_not_written_again_after_a_restart(stack: Stack) -> None:
    until(lambda: written(stack))
    stack.kill("gateway", signal.SIGKILL)
    until(lambda: stack.service("gateway")["restarts"] == 1)
    assert_all_written(stack)


def test_restarted_by_hand(stack: Stack) -> None:
    place(stack, "before")
    until(lambda: written(stack))
    dead = stack.pid("database-server")
    control.restart(stack.directory, "database")
    assert stack.pid("database-server") != dead
    assert_all_written(stack)


def test_database_loss_stops_orders(start: Start) -> None:
    stack = start("database-loss-stops-orders")
    with cut(stack, "database", REFUSED):
        until(lambda: away(stack))
        refused = stack.order("refused")
        assert (refused.status, refused.json["ok"], refused.json["error"]) == (503, False, "database_unavailable")
        assert stack.gateway("/api/cancel", {"client_order_id": "seed-resting-buy"}).json["ok"]
    until(stack.healthy)
    place(stack, "refused")


def test_stand_in(start: Start) -> None:
    stack = start(database="stand-in")
    assert part(stack)["kind"] == "stand-in"
    address = ("127.0.0.1", stack.sandbox.ports["database-link"])
    assert traffic.pass_through(address, traffic.PostgreSQL(), 1, 10).outcome == "answered"
    with stack.unattended():
        stack.kill("database-server", signal.SIGKILL)
        until(lambda: away(stack))
        place(stack, "meanwhile")
    assert_all_written(stack)
    with cut(stack, "database", SILENT):
        until(lambda: away(stack))
        place(stack, "cut-off")
    assert_all_written(stack)
    assert rows(stack, "SELECT seconds FROM audit_age")[0][0] >= 0


def test_stand_in_with_the_flaw(start: Start) -> None:
    stack = start("database-loss-stops-orders", database="stand-in")
    with cut(stack, "database", REFUSED):
        until(lambda: away(stack))
        assert stack.order("refused").json["error"] == "database_unavailable"


@pytest.mark.parametrize("stopped", ["database", "database-server"])
def test_nothing_is_left_when_the_supervisor_is_killed(stack: Stack, stopped: str) -> None:
    assert any("postgres: checkpointer" in line for line in processes_of(stack.directory))
    stack.kill(stopped, signal.SIGSTOP)
    stack.kill("supervisor", signal.SIGKILL)
    until(lambda: not processes_of(stack.directory))


def test_one_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {"initdb": "echo 'initdb: error: disk is made of cheese' >&2; exit 1", "postgres": "echo 'postgres 99'"}
    for name, script in programs.items():
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UsageError, match=r"(?s)disk is made of cheese.*apt-get install"):
        control.up(tmp_path / "sandbox", free_ports=True)
    assert not (tmp_path / "sandbox").exists()


def test_a_server_that_does_not_start_again_says_why(stack: Stack) -> None:
    data = stack.directory / "database" / "cluster"
    (data / "postgresql.auto.conf").write_text("max_wal_size = plenty\n")
    stack.kill("database-server", signal.SIGKILL)
    stderr = stack.directory / "log" / "database.stderr"
    until(lambda: "PostgreSQL did not start" in stderr.read_text())
    assert 'invalid value for parameter "max_wal_size": "plenty"' in stderr.read_text()
    (data / "postgresql.auto.conf").write_text("")
    assert_all_written(stack)


def test_a_cache_that_is_broken_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place, way = cluster.programs(), unprivileged.way()
    assert place and way
    kept = cluster.cache(place, way)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"torn")
    data = cluster.prepare(tmp_path / "database", place, way)
    assert (data / "PG_VERSION").exists() and kept.stat().st_size > 1_000_000
    again = cluster.prepare(tmp_path / "other", place, way)
    assert (again / "PG_VERSION").read_text() == (data / "PG_VERSION").read_text()
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.root
def test_as_another_user_where_namespaces_are_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, since it may not enter the sandbox's; which goes as well."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place, way = cluster.programs(), unprivileged.OTHER_USER
    if not (place and unprivileged.works(way)):
        absent("root", "this test changes to the user postgres")
    data = cluster.prepare(tmp_path / "database", place, way)
    assert data.owner() == "postgres" and not data.is_relative_to(tmp_path)
    numbers, claim = ports.unused()
    port = numbers["database"]
    command = cluster.command(place, data, port)
    server = subprocess.Popen(command, preexec_fn=way.enter, env=cluster.environment(), stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: answered(port)) == [(1,)]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        claim.close()
    cluster.remove(tmp_path / "database")
    assert not data.parent.exists()


def answered(port: int) -> list[tuple[Any, ...]]:
    try:
        return asyncio.run(_rows(port, "SELECT 1"))
    except (OSError, asyncpg.PostgresError):
        return []
