"""What a disaster cost in orders: who survived, and how old the newest of them is."""

from __future__ import annotations

from tests.property.simulation.plans import FAULT, limits, ms, plan
from tests.property.simulation.writing import MS, Journal, clock
from veloz_chaos.core import event as ev
from veloz_chaos.core.audit import Audit
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.flow import Flow
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.loss import findings, lost
from veloz_chaos.core.measure import measure
from veloz_chaos.core.orders import Orders
from veloz_chaos.core.plan import PlannedMeasure, PlannedStep


def history(placed: list[tuple[str, int, int, str]], kept: list[str]) -> Orders:
    """(id, sent, answered, outcome); what the gateway holds at the end."""
    orders = Orders()
    for name, at, done, outcome in placed:
        terms = {"side": "BUY", "qty": "1", "symbol": "X", "price": "1"}
        orders.place({"id": name, "due": at, "at": at, **terms})
        orders.done({"id": name, "of": "place", "at": done, "outcome": outcome})
    for side in ("gateway", "exchange"):
        orders.read({"side": side, "at": 1000, "ok": True})
    for name in kept:
        orders.found({"side": "gateway", "id": name, "state": "open"})
    for name, *_ in placed:  # the exchange loses nothing
        orders.found({"side": "exchange", "id": name, "state": "open"})
    return orders


def test_the_newest_survivor_and_those_after_it() -> None:
    placed = [("a", 10, 15, "accepted"), ("b", 20, 26, "accepted"), ("c", 30, 35, "accepted")]
    found = lost(history(placed, ["a", "b"]), Interval(50, 60))
    assert (found.acknowledged, found.lost, found.newest) == (3, ("c",), Interval(20, 26))
    assert found.newest is not None and Interval(50, 60).since(found.newest) == Interval(24, 40)


def test_the_latest_acknowledgement_of_overlapping_ones_is_anywhere_between() -> None:
    placed = [("slow", 10, 48, "accepted"), ("quick", 30, 35, "accepted")]
    assert lost(history(placed, ["slow", "quick"]), Interval(50, 60)).newest == Interval(30, 48)


def test_what_was_never_acknowledged_or_came_later_does_not_count() -> None:
    placed = [
        ("a", 10, 15, "accepted"), ("refused", 20, 21, "refused"), ("unknown", 45, 70, "unknown"),
        ("later", 80, 85, "accepted"),
    ]  # fmt: skip
    found = lost(history(placed, ["a", "later"]), Interval(50, 60))
    assert (found.acknowledged, found.lost, found.newest) == (1, (), Interval(10, 15))


def test_where_none_survived_all_since_the_oldest_is_lost() -> None:
    placed = [("a", 10, 15, "accepted"), ("b", 20, 26, "accepted")]
    found = lost(history(placed, []), Interval(50, 60))
    assert (found.lost, found.newest, found.oldest) == (("a", "b"), None, Interval(10, 15))
    assert lost(history([], []), Interval(50, 60)).oldest is None


def rpo(kept: list[str]) -> Finding:
    """One order every 10 ms until it strikes at 500; the limit is 100 ms."""
    orders = history([(f"o{t}", t * MS, (t + 1) * MS, "accepted") for t in range(10, 500, 10)], kept)
    loss = PlannedStep(name="loss", inject=[FAULT])
    made = plan(signals=(), limits=limits().model_copy(update={"rpo": ms(100)})).model_copy(
        update={"steps": [loss], "measures": {"rpo": PlannedMeasure(at="loss")}}
    )
    journal = Journal(made).baseline(0, 490).strikes(called=500, returned=501)
    journal.add(ev.StepBegan(step="loss", deadline=10**15, **clock(495)))
    history_ = journal.add(ev.StepEnded(step="loss", outcome="done", **clock(520))).history()
    (found,) = findings(made, history_, measure(history_), Flow(Audit(), orders=orders))
    return found


def test_what_came_back_by_another_way_hides_nothing_of_what_is_lost_before_it() -> None:
    newest, all_ = ["o480", "o490"], [f"o{t}" for t in range(10, 500, 10)]
    assert rpo(all_).verdict == "passed"
    assert rpo(all_[:-3]).verdict == "passed"
    found = rpo([*all_[:10], *newest])
    assert found.verdict == "failed"
    assert found.measured == Interval((500 - 111) * MS, (506 - 110) * MS)
    assert rpo([]).verdict == "failed"
