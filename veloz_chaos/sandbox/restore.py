"""The sandbox's own disaster recovery: everything that the site held, from what was kept elsewhere.

The database first: base backup, archive of the log, as far as it goes or to an instant. Then the gateway's orders, from
the database; the engine gets its books from the gateway, and both ask the exchange what has become of what is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import backup, control, site
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.order_store import Order
from veloz_chaos.sandbox.settings import LOOPBACK, Settings
from veloz_chaos.sandbox.truth import TruthLog

ORDERS = """
SELECT client_order_id, symbol, side, type, time_in_force, qty, price, status, order_id, executed_qty, quote_qty,
  (extract(epoch FROM at) * 1000000)::bigint AS micros FROM orders ORDER BY at, client_order_id
"""
_TRADES_WITHIN = 20.0


def restore(directory: Path, to: str = "") -> int:
    """How many orders came back. May be called whatever is left of the site, and again. Raises UsageError."""
    directory = directory.resolve()
    settings = settings_of(directory)
    _require_instant(to)
    truth = TruthLog(directory, "restore")
    truth.write("began", to=to)
    site.unmark(directory)
    control.end(directory, site.VOLUMES)
    for folder in site.folders(directory).values():
        _clear(folder)
    backup.unpack(settings, site.folders(directory)["database"], to)
    site.mark(directory, ["database"])
    control.start(directory, ["database"])
    truth.write("database-restored")
    orders = asyncio.run(_orders(settings))
    _write(directory / "gateway" / "orders.jsonl", orders)
    site.mark(directory)
    control.start(directory, ["engine", "gateway"])
    if not control.until(lambda: control.trades(settings.ports["gateway"]), _TRADES_WITHIN, 0.02):
        raise UsageError(f"the site is restored, but does not trade; see the logs in {directory / 'log'}")
    truth.write("done", orders=[order.client_order_id for order in orders])
    return len(orders)


def settings_of(directory: Path) -> Settings:
    """Of a sandbox that is up, with backups. Raises UsageError."""
    if control.find(directory) is None:
        raise UsageError(f"no sandbox is up in {directory}; start it with: veloz-chaos sandbox up --backups")
    settings = settings_file.read(directory.resolve())
    if not settings.backups:
        raise UsageError(f"the sandbox in {directory} has no backups; start it with: veloz-chaos sandbox up --backups")
    return settings


def _require_instant(to: str) -> None:
    with contextlib.suppress(ValueError):
        if not to or datetime.fromisoformat(to).tzinfo is not None:
            return
    raise UsageError(f"`{to}` is no instant; write one as 2026-01-02T03:04:05Z")


def _clear(folder: Path) -> None:
    """The folder itself stays, as a mounted one would."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


async def _orders(settings: Settings) -> list[Order]:
    import asyncpg

    place = f"postgresql://veloz@{LOOPBACK}:{settings.ports['database']}/veloz"
    connection = await asyncpg.connect(place, ssl=False, timeout=10)
    try:
        return [_order(dict(row)) for row in await connection.fetch(ORDERS)]
    finally:
        await connection.close()


def _order(row: dict[str, Any]) -> Order:
    return Order(ts_ns=row.pop("micros") * 1000, **row)


def _write(file: Path, orders: Iterable[Order]) -> None:
    file.write_text("".join(json.dumps(vars(order)) + "\n" for order in orders))
