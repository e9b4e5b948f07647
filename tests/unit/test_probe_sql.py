"""One row of real databases: PostgreSQL where there is one, SQLite always."""

from __future__ import annotations

import asyncio
import gc
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.infra.postgres import PASSWORD, Server
from tests.infra.toxiproxy import free_port
from veloz_chaos.core import condition
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.sql import PROBE, Sql

NOW = "select now() at time zone 'utc'"


def fill(text: str) -> str:
    return text.replace("${env:PASSWORD}", PASSWORD)


def eye(seconds: float = 20, fill: Callable[[str], str] = fill) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


def ask(dsn: str, query: str, seconds: float = 20, fill: Callable[[str], str] = fill) -> Seen:
    return asyncio.run(Sql(dsn=dsn, query=query).look(eye(seconds, fill)))


# What is written


@pytest.mark.parametrize(
    ("dsn", "complaint"),
    [
        ("mysql://a/b", "postgresql://"),
        ("here", "postgresql://"),
        ("sqlite://a/b", "sqlite:///"),
        ("sqlite:///", "sqlite:///"),
        ("postgresql://me:hush@a/b", "secret"),
        ("postgresql://me@a/b?password=hush", "secret"),
        ("postgresql://me:hush${env:A}@a/b", "secret"),
    ],
)
def test_says_what_is_wrong(dsn: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        PROBE(dsn=dsn, query="select 1")


def test_a_query_is_needed() -> None:
    with pytest.raises(ValidationError, match="a query"):
        Sql(dsn="sqlite:///a", query=" ")


@pytest.mark.parametrize("dsn", ["${env:DSN}", "postgresql://me:${file:/run/secrets/a}@${env:HOST}:${env:PORT}/b"])
def test_secrets_may_stand_anywhere(dsn: str) -> None:
    assert Sql(dsn=dsn, query="select 1").address() == dsn


@pytest.mark.parametrize(
    ("dsn", "filled"),
    [("${env:DSN}", "nonsense hush"), ("${env:DSN}", "sqlite://hush/b"), ("postgresql://a:${env:DSN}/b", "hush")],
)
def test_a_filled_dsn_that_is_none_is_a_usage_error_without_the_secret(dsn: str, filled: str) -> None:
    with pytest.raises(UsageError) as error:
        ask(dsn, "select 1", fill=lambda text: text.replace("${env:DSN}", filled))
    assert "hush" not in str(error.value)


# SQLite


@pytest.fixture
def file(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "a b?.db")) as connection:
        connection.execute("create table orders (id text, qty real)")
        connection.execute("insert into orders values ('a', 0.5)")
        connection.commit()
    return f"sqlite:///{tmp_path}/${{env:FILE}}.db"


def ask_file(dsn: str, query: str, seconds: float = 20) -> Seen:
    return ask(dsn, query, seconds, lambda text: text.replace("${env:FILE}", "a b?"))


def test_sqlite_tells_a_row(file: str) -> None:
    assert ask_file(file, "select count(*) as n, id, qty from orders") == Seen(
        value=1, json={"n": 1, "id": "a", "qty": 0.5}
    )


@pytest.mark.usefixtures("file")
def test_sqlite_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ask_file("sqlite:///${env:FILE}.db", "select 1").value == 1


def test_sqlite_without_a_row(file: str) -> None:
    assert ask_file(file, "select * from orders where false").error == "no row"


def test_sqlite_missing_is_not_made(tmp_path: Path) -> None:
    assert ask(f"sqlite:///{tmp_path}/none.db", "select 1").error == "missing"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("query", ["delete from orders", "insert into orders values ('b', 1)", "drop table orders"])
def test_sqlite_cannot_write(file: str, query: str) -> None:
    assert ask_file(file, query).error == "sql: attempt to write a readonly database"
    assert ask_file(file, "select count(*) from orders").value == 1


@pytest.mark.parametrize("query", ["selct", "select 1; select 2", "select * from nothing"])
def test_sqlite_has_something_against_it(file: str, query: str) -> None:
    assert ask_file(file, query).error.startswith("sql: ")


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all" * 100)
    assert ask(f"sqlite:///{tmp_path}/text", "select * from a").error == "sql: file is not a database"


def test_sqlite_that_takes_too_long(file: str) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    with pytest.raises(TimeoutError):
        ask_file(file, endless, 0.1)


def test_sqlite_locked(file: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a b?.db", isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        try:
            seen = ask_file(file, "select * from orders", 0.2)
        except TimeoutError:
            return
    assert seen.error == "sql: database is locked"


# PostgreSQL


def test_a_row(postgres: Server) -> None:
    seen = ask(postgres.dsn(), "select 7 as n, 'a' as text, true as yes, null as nothing")
    assert seen == Seen(value=7, json={"n": 7, "text": "a", "yes": True, "nothing": None})


def test_the_first_of_several_rows(postgres: Server) -> None:
    assert ask(postgres.dsn(), "select * from generate_series(3, 9)").value == 3


def test_no_row(postgres: Server) -> None:
    assert ask(postgres.dsn(), "select 1 where false").error == "no row"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sum(n) from unnest(array[1::bigint, 2]) n", 3),
        ("1.50", 1.5),
        ("1e30::numeric", 1e30),
        ("array[1, 2]", [1, 2]),
        ("timestamp '2024-01-01 12:00'", datetime(2024, 1, 1, 12, tzinfo=UTC)),
        ("timestamptz '2024-01-01 12:00+01'", datetime(2024, 1, 1, 11, tzinfo=UTC)),
        ("interval '90 seconds'", timedelta(seconds=90)),
        ("date '2024-01-01'", "2024-01-01"),
        ("'\\x00ff'::bytea", "00ff"),
        ("'9b3c1e1e-0000-4000-8000-000000000000'::uuid", "9b3c1e1e-0000-4000-8000-000000000000"),
        ("'{\"a\": 1}'::jsonb", '{"a": 1}'),
        ("inet '127.0.0.1'", "127.0.0.1"),
    ],
)
def test_values_that_a_condition_can_work_with(postgres: Server, expression: str, value: Any) -> None:
    seen = ask(postgres.dsn(), f"select {expression}")
    assert (seen.value, seen.error) == (value, "")
    condition.compile("value == null || size([value]) == 1").holds({"value": seen.value})


def test_age_by_a_condition(postgres: Server) -> None:
    seen = ask(postgres.dsn(), NOW)
    holds = condition.compile("now - value < duration('60s')").holds
    assert holds({"now": datetime.now(UTC), "value": seen.value})
    assert not holds({"now": datetime.now(UTC) + timedelta(hours=1), "value": seen.value})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("create table x (a int)", "sql: cannot execute CREATE TABLE in a read-only transaction"),
        ("set transaction read write", "no row"),
        (
            "select set_config('transaction_read_only', 'off', true)",
            "sql: transaction read-write mode must be set before any query",
        ),
    ],
)
def test_nothing_is_written(postgres: Server, query: str, error: str) -> None:
    assert ask(postgres.dsn(), query).error == error
    assert ask(postgres.dsn(), "select to_regclass('x')::text").value is None


@pytest.mark.parametrize(
    "query", ["selct", "select 1; select 2", "select * from nothing", "select 1 / 0", "commit; select 1"]
)
def test_it_has_something_against_it(postgres: Server, query: str) -> None:
    assert ask(postgres.dsn(), query).error.startswith("sql: ")


def test_the_wrong_password(postgres: Server) -> None:
    seen = ask(postgres.dsn(), "select 1", fill=lambda text: text.replace("${env:PASSWORD}", "hush"))
    assert seen == Seen(error="auth")
    assert ask(postgres.dsn("nobody:${env:PASSWORD}"), "select 1").error == "auth"
    assert ask(postgres.dsn("nobody"), "select 1").error in ("auth", "sql: password is required")


def test_no_such_database(postgres: Server) -> None:
    assert ask(postgres.dsn() + "x", "select 1").error == 'sql: database "velozx" does not exist'


def test_all_of_it_may_be_a_secret(postgres: Server) -> None:
    from urllib.parse import quote

    whole = postgres.dsn(f"veloz:{quote(PASSWORD, safe='')}")
    assert ask("${env:DSN}", "select 1", fill=lambda text: text.replace("${env:DSN}", whole)).value == 1


def test_over_a_socket(postgres: Server) -> None:
    dsn = f"postgresql://veloz:${{env:PASSWORD}}@/veloz?host={postgres.folder}&port={postgres.port}"
    assert ask(dsn, "select 1").value == 1


def test_by_name(postgres: Server) -> None:
    assert ask(postgres.dsn().replace("127.0.0.1", "localhost"), "select 1").value == 1


def test_a_query_that_takes_too_long_ends_at_the_server_too(postgres: Server) -> None:
    with pytest.raises(TimeoutError):
        ask(postgres.dsn(), "select pg_sleep(600), 'mark'", 0.5)
    left = "select count(*) from pg_stat_activity where query like '%''mark''%' and pid != pg_backend_pid()"

    async def gone() -> None:
        while (await Sql(dsn=postgres.dsn(), query=left).look(eye())).value != 0:
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(gone(), 30))


def test_refused_and_unknown() -> None:
    assert ask(f"postgresql://a@127.0.0.1:{free_port()}/b", "select 1").error == "refused"
    assert ask("postgresql://a@no-such-name.invalid/b", "select 1").error == "dns"


async def _served(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], seconds: float) -> Seen:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        dsn = f"postgresql://a@127.0.0.1:{server.sockets[0].getsockname()[1]}/b?sslmode=disable"
        return await Sql(dsn=dsn, query="select 1").look(eye(seconds))
    finally:
        server.close()


def test_a_server_that_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.close()

    assert asyncio.run(_served(hang_up, 20)).error in ("closed", "reset")


def test_what_is_no_postgresql() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    assert asyncio.run(_served(web, 20)).error != ""


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:  # accepted by the kernel alone
        yield server.getsockname()[1]


def test_nothing_is_left_of_timed_out_looks(silent: int) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def look() -> None:
        probe = Sql(dsn=f"postgresql://a@127.0.0.1:{silent}/b", query="select 1")
        await asyncio.gather(probe.look(eye(0.05)), return_exceptions=True)  # the driver is imported
        before = descriptors()
        for _ in range(3):
            looks = await asyncio.gather(*(probe.look(eye(0.05)) for _ in range(30)), return_exceptions=True)
            assert all(isinstance(each, TimeoutError) for each in looks)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        assert descriptors() <= before

    asyncio.run(look())


def test_a_look_that_is_cut_short_at_any_step_is_not_told_of_on_stderr(silent: int) -> None:
    """In the one in which its connection is made, too."""
    told: list[dict[str, Any]] = []

    async def look() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        probe = Sql(dsn=f"postgresql://a@127.0.0.1:{silent}/b", query="select 1")
        for steps in range(60):
            looking = asyncio.create_task(probe.look(eye()))
            for _ in range(steps):
                await asyncio.sleep(0)
            looking.cancel()
            await asyncio.wait([looking])
            await asyncio.sleep(0)
        gc.collect()

    asyncio.run(look())
    assert told == []


def test_nothing_is_left_of_cancelled_queries(postgres: Server) -> None:
    async def look() -> None:
        probe = Sql(dsn=postgres.dsn(), query="select pg_sleep(600)")
        looks = await asyncio.gather(*(probe.look(eye(1.5)) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(each, TimeoutError) for each in looks)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    asyncio.run(look())


def test_a_server_that_goes_and_comes(postgres: Server) -> None:
    postgres.halt()
    try:
        assert ask(postgres.dsn(), "select 1").error == "refused"
    finally:
        postgres.start()
    assert ask(postgres.dsn(), "select 1").value == 1
