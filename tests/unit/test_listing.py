"""Lists item by item: the same as the library's own macros, in linear time."""

from __future__ import annotations

from typing import Any

import pytest

from veloz_chaos.core import condition, listing
from veloz_chaos.core.condition import ConditionMissing, ConditionTypeError

ORDERS = [{"id": f"vc-{n}", "n": n, "status": "NEW" if n % 2 else "FILLED", "tags": ["a", "b"]} for n in range(6)]
VALUES: dict[str, Any] = {"json": {"orders": ORDERS, "in ": [1], "list": [3, 1]}, "status": 200}


@pytest.mark.parametrize(
    "text",
    [
        "json.orders",
        "json.orders.map(o, o.id)",
        "json.orders.map(o, {'id': o.id, 'state': o.status})",
        "json.orders.filter(o, o.n > 2).map(o, o.id + ' .map(x, y)')",
        "json.orders.filter(o, o.status == 'NEW')",
        "json.orders.map(o, o.tags.map(t, t + o.id))",
        "json['orders'].map(o, o.n in [1, 2])",
        "json.orders.map(o, status == 200 ? o.n : 0)",
        "status == 200 ? json.orders.map(o, o.id) : []",
        "json.list + json.orders.map(o, o.n)",
        "[json.list[0], 2].map(n, n * 2)",
        "(json.orders.map(o, o.id))",
    ],
)
def test_it_gives_what_the_library_gives(text: str) -> None:
    assert listing.compile(text).items(VALUES) == condition.compile(text).value(VALUES)


def test_the_macros_at_the_end_are_taken_off() -> None:
    made = listing.compile("json.orders.filter(o, o.n > 2).map(p, p.id)")
    assert (made.source.text, [stage.macro for stage in made.stages]) == ("json.orders", ["filter", "map"])
    assert listing.compile("json.list + json.orders.map(o, o.n)").stages == []


def test_ten_thousand_items_are_no_more_work_than_ten_thousand_times_one() -> None:
    many = {"json": [{"id": str(n)} for n in range(10_000)]}
    assert len(listing.compile("json.map(o, {'id': o.id})").items(many)) == 10_000


@pytest.mark.parametrize(
    "text", ["json.ordrs", "json.orders[0]", "json.orders.map(o, o.nothing)", "json.orders[9].tags"]
)
def test_what_is_not_there_or_no_list_is_missing(text: str) -> None:
    with pytest.raises(ConditionMissing):
        listing.compile(text).items(VALUES)


def test_a_wrong_type_is_an_error_of_the_file() -> None:
    with pytest.raises(ConditionTypeError):
        listing.compile("json.orders.map(o, o.id + 1)").items(VALUES)


@pytest.mark.parametrize("text", ["", "json.", "jsn.orders.map(o, o.id)", "json.map(o, p.id)", "json.map(o, o.id"])
def test_what_can_not_be_read_is_refused_beforehand(text: str) -> None:
    with pytest.raises(ValueError):
        listing.compile(text)
