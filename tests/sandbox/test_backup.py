"""The sandbox's backups are real: what they hold comes back, what they do not is lost; no disk, no service."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.infra.require import absent
from tests.sandbox.conftest import Start
from tests.sandbox.stack import Stack, until
from tests.sandbox.test_database import rows
from veloz_chaos.errors import Refused, UsageError
from veloz_chaos.sandbox import backup, cluster, control, database, restore, site
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.settings import Settings

pytestmark = [pytest.mark.sandbox, pytest.mark.postgres]
SEEDS = {"seed-resting-buy", "seed-resting-sell", "seed-filled"}


@pytest.fixture(autouse=True)
def installed() -> None:
    if database.kind() != database.POSTGRESQL:
        absent("postgresql", "no PostgreSQL that can be started here; apt-get install postgresql")


@pytest.fixture
def stack(start: Start) -> Stack:
    return start(backups=True)


def place(stack: Stack, name: str) -> None:
    order = {"side": "BUY", "symbol": "BTCUSDT", "qty": 0.01, "price": 1000, "client_order_id": name}
    assert stack.gateway("/api/order", order).json["ok"]


def orders(stack: Stack) -> dict[str, dict[str, Any]]:
    return {order["client_order_id"]: order for order in stack.gateway("/api/orders").json["orders"]}


def settings(stack: Stack) -> Settings:
    return settings_file.read(stack.directory)


def lose(stack: Stack) -> None:
    """The disks are empty, and whoever had them is dead."""
    site.unmark(stack.directory)
    control.end(stack.directory, site.VOLUMES)
    for path in [path for folder in site.folders(stack.directory).values() for path in folder.iterdir()]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def archived(stack: Stack) -> bool:
    """Everything done so far: what waits is written, and then the segment that is written to now comes to be there."""
    until(stack.persisted)
    wal = backup.folder(stack.directory) / "wal"
    [(segment,)] = rows(stack, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    until(lambda: (wal / f"{segment}.gz").exists())
    return True


def test_what_was_archived_comes_back_and_is_as_it_was(stack: Stack) -> None:
    place(stack, "resting")
    before, account = orders(stack), stack.gateway("/api/account").json
    assert archived(stack)
    lose(stack)
    assert restore.restore(stack.directory) == len(before)
    after = orders(stack)
    assert {name: order["status"] for name, order in after.items()} == {n: o["status"] for n, o in before.items()}
    for name, order in before.items():
        kept = ("symbol", "side", "qty", "price", "type", "time_in_force", "order_id", "executed_qty", "quote_qty")
        assert {key: order[key] for key in kept} == {key: after[name][key] for key in kept}
    totals = [(one["asset"], one["total"]) for one in account["balances"]]
    until(lambda: [(b["asset"], b["total"]) for b in stack.gateway("/api/account").json["balances"]] == totals)
    place(stack, "afterwards")
    assert "afterwards" in orders(stack)
    lose(stack)  # a second time, on the new timeline
    assert restore.restore(stack.directory) >= len(before)


def test_what_is_written_after_a_restore_is_archived_again(stack: Stack) -> None:
    """PostgreSQL's checkpointer, which minds archive_timeout, sleeps for five minutes after a recovery unless woken."""
    place(stack, "before")
    assert archived(stack)
    for name in ("after", "again"):
        lose(stack)
        restore.restore(stack.directory)
        place(stack, name)
        assert archived(stack)
    lose(stack)
    restore.restore(stack.directory)
    assert {"before", "after", "again"} <= orders(stack).keys()


def test_as_far_as_an_instant(stack: Stack) -> None:
    place(stack, "before")
    until(stack.persisted)
    time.sleep(0.1)
    instant = datetime.now(UTC).isoformat()
    time.sleep(0.1)
    place(stack, "after")
    assert archived(stack)
    restore.restore(stack.directory, instant)
    assert "before" in orders(stack) and "after" not in orders(stack)
    with pytest.raises(UsageError, match="is no instant; write one as"):
        restore.restore(stack.directory, "yesterday")


def test_without_its_disk_no_service_is_started(stack: Stack) -> None:
    lose(stack)
    time.sleep(3.0)
    found = control.status(stack.directory)
    assert found is not None
    states = {name: one.state for name, one in found.services.items()}
    assert {name for name, state in states.items() if state == "down"} == set(site.VOLUMES)
    with pytest.raises(UsageError):
        control.restart(stack.directory, "gateway")
    restore.restore(stack.directory)
    assert set(orders(stack)) >= SEEDS


def test_a_backup_is_proven_elsewhere(stack: Stack) -> None:
    found = backup.check(settings(stack))
    assert found["orders"] >= 3 and found["audit"] > 3 and 0 <= found["newest_seconds"] < 60
    assert orders(stack), "the running one is not touched"
    assert not list(cluster.home(stack.directory / "database").glob("scratch-*"))


def test_what_cannot_be_restored_is_not_proven(start: Start) -> None:
    stack = start("backup-not-restorable", backups=True)
    with pytest.raises(UsageError, match="the base backup can't be unpacked"):
        backup.check(settings(stack))


def test_a_damaged_backup_that_still_unpacks_is_not_proven(stack: Stack) -> None:
    """A cluster without its catalogue: the server says so."""
    tar = backup.base(stack.directory)
    other = tar.with_name("other")
    other.mkdir()
    subprocess.run(["tar", "-xf", tar, "-C", other], check=True)
    (other / "global" / "pg_control").unlink()
    subprocess.run(["tar", "-cf", tar, "-C", other, "."], check=True)
    with pytest.raises(UsageError, match="what was restored can't be served"):
        backup.check(settings(stack))


def test_an_archive_that_is_behind_loses_what_came_after_the_base_backup(start: Start) -> None:
    stack = start("wal-archive-behind", backups=True)
    place(stack, "late")
    time.sleep(3)
    lose(stack)
    restore.restore(stack.directory)
    assert set(orders(stack)) == SEEDS


def test_a_new_base_backup_takes_the_place_of_the_last(stack: Stack) -> None:
    place(stack, "in-the-second")
    until(stack.persisted)
    assert backup.take(settings(stack)) > 1_000_000
    shutil.rmtree(backup.folder(stack.directory) / "wal")
    (backup.folder(stack.directory) / "wal").mkdir()
    restore.restore(stack.directory)
    assert "in-the-second" in orders(stack)


def test_nobody_but_the_role_backup_may_copy_it(stack: Stack) -> None:
    async def connect(**how: Any) -> None:
        place = f"postgresql://127.0.0.1:{stack.sandbox.ports['database']}/veloz"
        await (await asyncpg.connect(place, ssl=False, timeout=5, **how)).close()

    for user in ("backup", "sandbox"):
        with pytest.raises(asyncpg.PostgresError):
            asyncio.run(connect(user=user))
    asyncio.run(connect(user="veloz"))


def test_down_leaves_nothing(start: Start, tmp_path: Path) -> None:
    stack = start(backups=True)
    kept = cluster.home(stack.directory / "database")
    control.down(stack.directory)
    assert not kept.exists() and not stack.directory.exists()
    assert list(tmp_path.iterdir()) == []


def test_without_backups_there_is_nothing_to_restore(start: Start) -> None:
    stack = start()
    for call in (lambda: restore.restore(stack.directory), lambda: restore.settings_of(stack.directory)):
        with pytest.raises(UsageError, match="has no backups; start it with"):
            call()
    values = (stack.directory / "environment.yaml").read_text()
    assert '"wipe"' not in values


def test_a_machine_without_postgresql_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "programs", lambda: None)
    with pytest.raises(Refused, match="none can be started here; apt-get install postgresql"):
        control.up(tmp_path / "sandbox", free_ports=True, backups=True)
    assert not (tmp_path / "sandbox").exists()


def test_by_the_command_line(stack: Stack) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "veloz_chaos", "sandbox", *words, "--dir", str(stack.directory)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(call("backup", "--check").stdout)["orders"] == 3
    assert call("backup").stdout.startswith("the base backup has ")
    assert call("restore").stdout == "the site is restored, with 3 orders\n"
    assert call("restore", "--to", "2026-13-01").returncode == 2
