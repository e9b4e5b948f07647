"""Ten thousand orders: what is done for each request does not grow with them, and nothing is left out."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from veloz_chaos.sandbox import ledger as books
from veloz_chaos.sandbox.binance import order_body
from veloz_chaos.sandbox.book import Book, Order, OrderError, price_of
from veloz_chaos.sandbox.event_stream import EventStream
from veloz_chaos.sandbox.exchange import recorder, restored
from veloz_chaos.sandbox.ledger import Entry, Ledger
from veloz_chaos.sandbox.listing import Listing
from veloz_chaos.sandbox.order_log import OrderLog
from veloz_chaos.sandbox.order_store import Order as Mine
from veloz_chaos.sandbox.order_store import OrderStore

NOW = 1_000.0


def order(name: str, price: float = 20_000, side: str = "BUY") -> Order:
    amount = Decimal("0.00001")
    return Order("BTCUSDT", 0, name, side, "LIMIT", "GTC", amount, Decimal(str(price)), 1, 1)


def book() -> Book:
    return Book([], lambda _: None)


def test_matching_takes_the_best_price_first_and_looks_at_no_other() -> None:
    ours, now = book(), NOW
    highest = max(price_of("BTCUSDT", now + second) for second in range(60))
    sells = [ours.place(order(f"sell-{number}", float(highest) + number, "SELL"), now) for number in range(-3, 10_000)]
    reached = [sell for sell in sells if sell.status == "FILLED"]
    later = next(now + second for second in range(60) if price_of("BTCUSDT", now + second) == highest)
    ours.match(later)
    expected = [sell for sell in sells if sell.price <= highest]
    assert reached != expected and [sell for sell in sells if sell.status == "FILLED"] == expected
    assert len(ours.open("BTCUSDT")) == len(sells) - len(expected)
    assert ours.balances()["BTC"][1] == Decimal("0.00001") * len(ours.open(None))


def test_what_is_cancelled_is_not_matched_and_locks_nothing() -> None:
    ours = book()
    ours.cancel(ours.place(order("gone", 49_900), NOW), NOW)
    for second in range(60):
        ours.match(NOW + second)
    [gone] = ours.all("BTCUSDT")
    assert gone.status == "CANCELED" and ours.balances()["USDT"][1] == 0
    with pytest.raises(OrderError, match="Unknown order"):
        ours.cancel(gone, NOW)


def test_orders_of_one_name_survive_a_restart(tmp_path: Path) -> None:
    file, listing = tmp_path / "orders.jsonl", Listing()
    ours = Book([], recorder(file, listing))
    ours.cancel(ours.place(order("twice"), NOW), NOW)
    second = ours.place(order("twice"), NOW)
    again = Book(restored(file), recorder(file, listing))
    assert again.all("BTCUSDT") == ours.all("BTCUSDT") and again.balances() == ours.balances()
    assert again.find("BTCUSDT", None, "twice") == second
    with pytest.raises(OrderError, match="Duplicate"):
        again.place(order("twice"), NOW)


def test_a_listing_shows_every_change() -> None:
    listing = Listing()
    ours = Book([], listing.changed)
    for number in range(1_000):
        ours.place(order(str(number)), NOW)
    for turn in range(2):
        listed = json.loads(asyncio.run(listing.json_of(ours.all("BTCUSDT"))))
        assert listed == [order_body(one) for one in ours.all("BTCUSDT")]
        ours.cancel(ours.all("BTCUSDT")[500 + turn], NOW)
    assert asyncio.run(listing.json_of([])) == b"[]"


def test_what_the_engine_locks_is_what_is_open() -> None:
    ours = Ledger()
    for number in range(100):
        assert books.accept(ours, str(number), Entry("BTCUSDT", "BUY", "0.01", "1000")) is None
    books.settle(ours, "7", Entry("BTCUSDT", "BUY", "0.01", "1000", "CANCELED"))
    books.settle(ours, "8", Entry("BTCUSDT", "BUY", "0.01", "1000", "FILLED", "0.01", "9"))
    books.settle(ours, "9", Entry("BTCUSDT", "BUY", "0.01", "1000", "PARTIALLY_FILLED", "0.004", "4"))
    books.settle(ours, "unheard-of", Entry("BTCUSDT", "SELL", "0.02", "9000", "NEW"))
    locked = {balance["asset"]: balance["locked"] for balance in books.balances(ours)}
    assert (locked["USDT"], locked["BTC"]) == ("976", "0.02")
    assert books.from_dict(json.loads(json.dumps(books.to_dict(ours)))) == ours


def mine(name: str, status: str = "NEW") -> Mine:
    return Mine(name, "BTCUSDT", "BUY", "LIMIT", "GTC", "0.01", "1000", status)


def test_the_store_knows_what_is_open_and_what_is_unknown(tmp_path: Path) -> None:
    heard: list[int] = []
    store = OrderStore(OrderLog(tmp_path / "log"), lambda number, _: heard.append(number))
    one, other = mine("one", "PENDING"), mine("other", "UNKNOWN")
    store.save(one)
    store.save(other)
    assert (store.open(), store.unknown()) == ([], [other])
    one.status = other.status = "NEW"
    store.save(one)
    store.save(other)
    assert (store.open(), store.unknown()) == ([one, other], [])
    assert [body["status"] for body in json.loads(store.json_of(store.listed("NEW")))] == ["NEW", "NEW"]
    one.status = "CANCELED"
    store.save(one)
    other.status = "REJECTED"
    store.save(other)
    assert json.loads(store.json_of(store.listed()))[0]["status"] == "CANCELED" and len(store.listed()) == 1
    assert heard == [1, 2, 3, 4, 5, 6]
    again = OrderStore(OrderLog(tmp_path / "log"), lambda number, _: heard.append(number))
    assert again.all() == store.all() and heard[6:] == heard[:6]


def test_the_log_is_read_by_number_and_cut_where_a_kill_tore_it(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\ntwo\nto")
    log = OrderLog(file)
    assert list(log.restored()) == [b"one\n", b"two\n"] and list(log.restored()) == []
    assert (len(log), log.append(b"three")) == (2, 3)
    assert log.lines(1, 99) == [(2, b"two"), (3, b"three")]
    assert log.lines(0, 1) == [(1, b"one")] and log.lines(3, 99) == log.lines(7, 9) == []
    assert file.read_bytes() == b"one\ntwo\nthree\n"


def test_a_client_that_missed_ten_thousand_events_gets_them_in_order(tmp_path: Path) -> None:
    log = OrderLog(tmp_path / "log")
    events = EventStream(log)
    store = OrderStore(log, lambda number, one: events.publish("order", {"name": one.client_order_id}, number))
    for number in range(10_000):
        store.save(mine(str(number)))

    async def scenario() -> list[int]:
        from aiohttp import web

        app = web.Application()
        app.add_routes([web.get("/", events.handle)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ids: list[int] = []
        async with (
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/?last_id=5") as got,
        ):
            store.save(mine("live"))
            while len(ids) < 9_996:
                line = await got.content.readline()
                ids += [int(line[4:])] if line.startswith(b"id: ") else []
        await runner.cleanup()
        return ids

    assert asyncio.run(scenario()) == list(range(6, 10_002))
