"""The order history as a file: read as it was written, and refused with the line that is wrong."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from veloz_chaos.core.audit import audit
from veloz_chaos.core.orders import Orders, UnreadableOrders, read

PLACE = {"op": "place", "id": "vc-a-1", "due": 90, "at": 100, "side": "BUY", "symbol": "X", "qty": "1", "price": "2"}
DONE = {"op": "done", "of": "place", "id": "vc-a-1", "at": 200, "outcome": "accepted", "status": 200, "why": ""}
READ = {"op": "read", "side": "gateway", "at": 1000, "ok": True, "why": ""}
FOUND = {"op": "found", "side": "gateway", "id": "vc-a-1", "state": "open", "qty": "1", "filled": "0"}
CANCEL = {"op": "cancel", "id": "vc-a-1", "due": 300, "at": 300}
CANCELLED = {"op": "done", "of": "cancel", "id": "vc-a-1", "at": 310, "outcome": "accepted"}


def lines(*operations: Any) -> list[bytes]:
    return [json.dumps(operation).encode() + b"\n" for operation in operations]


def both(**changed: Any) -> list[dict[str, Any]]:
    """The order on both sides."""
    sides = ("gateway", "exchange")
    return [op | {"side": side} | (changed if op is FOUND else {}) for side in sides for op in (READ, FOUND)]


def why(*operations: Any) -> str:
    return audit(read(lines(*operations))).why


def test_a_whole_history_is_read_and_vouched_for_by_its_hash() -> None:
    data = lines(PLACE, DONE, *both())
    orders = read(data)
    assert (orders.ids, orders.torn, len(orders)) == (["vc-a-1"], False, 1)
    assert orders.sha256 == sha256(b"".join(data)).hexdigest()
    assert audit(orders).clean


def test_nothing_is_read_of_nothing_and_shows_nothing() -> None:
    assert len(read([])) == 0
    assert audit(read([])).why == "no order was accepted, so none shows anything"


def test_a_torn_last_line_is_left_out_and_leaves_everything_open() -> None:
    torn = read([*lines(PLACE, DONE, *both()), b'{"op":"found","side":"exch'])
    assert torn.torn
    assert audit(torn).why == "the order history breaks off in its last line"


def test_a_last_line_without_its_newline_is_whole_if_it_is_an_operation() -> None:
    data = lines(PLACE, DONE, *both())
    assert not read([*data[:-1], data[-1].rstrip()]).torn


@pytest.mark.parametrize("before", [0, 1, 499, 500, 501])
def test_the_line_that_is_wrong_is_named_wherever_it_stands(before: int) -> None:
    with pytest.raises(UnreadableOrders, match=rf"^line {before + 1}: there is no operation 'plaze'$"):
        read([*lines(*[READ] * before), *lines(PLACE | {"op": "plaze"}), *lines(READ)])
    with pytest.raises(UnreadableOrders, match=rf"^line {before + 1}: no operation, but b'nonsense"):
        read([*lines(*[READ] * before), b"nonsense\n", *lines(READ)])
    with pytest.raises(UnreadableOrders, match=rf"^line {before + 1}: no operation, but b'cut by hand"):
        read([*lines(*[READ] * before), b"cut by hand\n"])


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ([PLACE, PLACE], "line 2: vc-a-1 is placed a second time"),
        ([PLACE, DONE, DONE], "line 3: the place of vc-a-1 is done, but not under way"),
        ([PLACE, CANCELLED], "line 2: the cancel of vc-a-1 is done, but not under way"),
        ([DONE], "line 1: the place of vc-a-1 is done, but not under way"),
        ([READ, FOUND, DONE], "line 3: the place of vc-a-1 is done, but not under way"),
        ([FOUND], "line 1: an order is found at the gateway, which was not read"),
        ([READ | {"side": "moon"}], "line 1: there is no side `moon`"),
        ([READ, FOUND | {"state": "asleep"}], "line 2: an operation without a known 'asleep'"),
        ([READ, FOUND | {"filled": "much"}], "line 2: could not convert string to float: 'much'"),
        ([PLACE, DONE | {"outcome": "perhaps"}], "line 2: an operation without a known 'perhaps'"),
        ([PLACE, DONE | {"of": "sale"}], "line 2: nothing is called `sale` that could be done"),
        ([{"op": "place", "id": "vc-a-1"}], "line 1: an operation without a known 'side'"),
        ([PLACE | {"due": "soon"}], "line 1: 'str' object cannot be interpreted as an integer"),
        ([PLACE | {"id": 7}], "line 1: an order's id is text, not 7"),
        ([[1]], "line 1: list indices must be integers or slices, not str"),
        ([7], "line 1: 'int' object is not subscriptable"),
    ],
)
def test_what_cannot_have_happened_is_an_error_with_its_line(operations: list[Any], said: str) -> None:
    with pytest.raises(UnreadableOrders) as error:
        read(lines(*operations))
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ([PLACE, *both()], "1 orders, first vc-a-1, have no end in the order history"),
        ([PLACE, DONE, CANCEL, *both()], "1 cancels, first of vc-a-1, have no end in the order history"),
        ([PLACE, DONE], "the gateway's orders were never read"),
        ([PLACE, DONE, READ, FOUND], "the exchange's orders were never read"),
        ([PLACE, DONE, *both(), READ | {"ok": False, "why": "503"}], "the gateway's orders could not be read: 503"),
        ([PLACE, DONE | {"at": 2000}, *both()],
         "1 orders, first vc-a-1, had their outcome only after the sides were read"),
        ([PLACE, DONE | {"outcome": "refused"}, READ, READ | {"side": "exchange"}],
         "no order was accepted, so none shows anything"),
    ],
)  # fmt: skip
def test_what_was_not_seen_leaves_everything_open(operations: list[Any], said: str) -> None:
    other = [{**PLACE, "id": "vc-a-0"}, {**DONE, "id": "vc-a-0"}] if "no order" not in said else []
    assert said in (why(*operations), why(*other, *operations))


def test_only_the_last_read_of_a_side_counts() -> None:
    early = READ | {"side": "exchange", "at": 900}
    assert audit(read(lines(PLACE, DONE, early, *both()))).clean
    late = READ | {"side": "exchange", "at": 1100}
    assert audit(read(lines(PLACE, DONE, *both(), late))).ids["lost"] == ("vc-a-1",)


def test_a_cancel_after_the_sides_were_read_is_tidying_up() -> None:
    tidy = [CANCEL | {"at": 1500}, CANCELLED | {"at": 1510}]
    assert audit(read(lines(PLACE, DONE, *both(state="filled", filled="1"), *tidy))).clean
    assert audit(read(lines(PLACE, DONE, *both(), tidy[0]))).clean
    asked = [CANCEL, CANCELLED]
    assert audit(read(lines(PLACE, DONE, *asked, *both(state="filled", filled="1")))).count("cancelled-yet-filled") == 1


def test_a_cancel_may_be_tried_again_and_be_of_what_nobody_placed() -> None:
    again = [CANCEL, CANCEL, CANCELLED | {"outcome": "unknown"}, CANCELLED]
    copy = [CANCEL | {"id": "vc-a-copy"}, CANCELLED | {"id": "vc-a-copy"}]
    found = audit(read(lines(PLACE, DONE, *again, *copy, *both(state="filled", filled="1"))))
    assert (found.why, found.count("cancelled-yet-filled"), found.count("duplicated")) == ("", 1, 0)
    listed = FOUND | {"id": "vc-a-copy", "state": "cancelled"}
    found = audit(read(lines(PLACE, DONE, *copy, *both(), listed)))
    assert str(found.cases["duplicated"][0]).startswith("a cancel was sent, 10 ns later the cancel was accepted, ")


def test_an_order_of_a_probe_after_the_sides_were_read_is_nobodys_business() -> None:
    probe = {"op": "probe", "id": "vc-probe", "at": 500, "outcome": "accepted"}
    assert audit(read(lines(PLACE, DONE, probe, *both()))).ids["lost"] == ("vc-probe",)
    assert audit(read(lines(PLACE, DONE, *both(), probe | {"at": 1500}))).clean


def test_an_accepted_order_of_a_probe_shows_nothing_of_a_flow_of_which_none_was_accepted() -> None:
    refused, probe = DONE | {"outcome": "refused"}, {"op": "probe", "id": "vc-p", "at": 50, "outcome": "accepted"}
    sides = [op | {"side": side} for side in ("gateway", "exchange") for op in (READ, FOUND | {"id": "vc-p"})]
    assert why(PLACE, refused, probe, *sides) == "no order was accepted, so none shows anything"


def test_numbers_are_compared_and_not_their_spelling() -> None:
    there = [READ | {"side": "exchange"}, FOUND | {"side": "exchange", "filled": "0.50000000"}]
    assert audit(read(lines(PLACE, DONE, READ, FOUND | {"filled": "0.5"}, *there))).clean
    assert audit(read(lines(PLACE, DONE, READ, FOUND | {"filled": "0.4"}, *there))).count("divergent") == 1


def test_an_order_tells_its_own_history() -> None:
    data = lines(PLACE, DONE, READ, FOUND, READ | {"side": "exchange"})
    [case] = audit(read(data)).cases["lost"]
    assert str(case) == (
        "placed (BUY 1 X at 2), 100 ns later accepted (200), 800 ns later open at the gateway, "
        "0 ms later absent at the exchange"
    )


def test_orders_that_cannot_be_read_show_nothing() -> None:
    assert audit(Orders(unreadable="line 3: nonsense")).why == "the order history cannot be read: line 3: nonsense"
