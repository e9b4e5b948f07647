"""A workload as people write it: every mistake is told at its place, and the seed alone decides the orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.property.simulation.files import planned, problems, written
from veloz_chaos.core.checking import Written
from veloz_chaos.core.workload import PlannedWorkload, asked_of, order
from veloz_chaos.engine import files
from veloz_chaos.errors import InvalidFile

WORKLOAD = """
workloads:
  orders:
    rate: 20/s
    symbols: [BTCUSDT, ETHUSDT]
    prices: {BTCUSDT: {BUY: "1000", SELL: "900000"}, ETHUSDT: {BUY: "10"}}
    place:
      http: {post: "http://127.0.0.1:1/order", json: {id: "${id}", side: "${side}", price: "${price}"}}
      accepted: status == 200 && json.ok
      refused: status == 503
    cancel:
      share: 20%
      http: {post: "http://127.0.0.1:1/cancel", json: {id: "${id}"}}
      accepted: status == 200
      refused: status == 404
    read:
      gateway: {http: {get: "http://127.0.0.1:1/orders"}, orders: "json.map(o, {'id': o.id, 'state': o.state})"}
      exchange: {http: {get: "http://127.0.0.1:2/all?symbol=${symbol}"}, orders: json}
    states: {NEW: open, FILLED: filled}
"""
TOP = "name: lab\n"


def with_orders(changes: Sequence[tuple[str, str]] = (), experiment: Sequence[tuple[str, str]] = ()) -> Written:
    text = WORKLOAD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    asked = ("steady-state:", "workload: orders\nsteady-state:")
    return written([asked, *experiment], [(TOP, TOP + text.lstrip())])


def flow(**changes: str) -> PlannedWorkload:
    made = planned(with_orders()).workload
    assert made is not None
    return made.model_copy(update=changes)


def test_a_plan_holds_the_workload_and_one_without_does_not() -> None:
    made = flow()
    assert (made.name, made.rate, made.timeout.total_seconds()) == ("orders", "20/s", 2)
    assert made.place.http.json_ == {"id": "${id}", "side": "${side}", "price": "${price}"}
    assert planned(written()).workload is None


def test_the_seed_alone_decides_the_sequence() -> None:
    made = flow()
    first = [order(made, "0123abcd", 7, n) for n in range(1, 500)]
    assert first == [order(made, "0123abcd", 7, n) for n in range(1, 500)]
    assert first != [order(made, "0123abcd", 8, n) for n in range(1, 500)]
    assert first[0][0].id == "vc-0123abcd-000001"
    kinds = Counter((one.symbol, one.side, one.price) for one, _ in first)
    assert set(kinds) == {("BTCUSDT", "BUY", "1000"), ("BTCUSDT", "SELL", "900000"), ("ETHUSDT", "BUY", "10")}
    assert 60 <= sum(cancelled for _, cancelled in first) <= 140


@pytest.mark.parametrize(("share", "least", "most"), [("0%", 0, 0), ("100%", 300, 300)])
def test_the_shares_at_the_ends_are_none_and_all(share: str, least: int, most: int) -> None:
    made = planned(with_orders([("share: 20%", f"share: {share}")])).workload
    assert made is not None
    assert least <= sum(order(made, "r", 0, n)[1] for n in range(300)) <= most


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("json.ok", "jsn.ok", "lab.yaml:12:17: not a condition: no variable is called `jsn`; did you mean `json`?"),
        ("status == 404", "status = 404", "lab.yaml:18:16: not a condition: column 8 of the condition"),
        ("orders: json}", "orders: 'json.'}", "lab.yaml:21:82: not a condition"),
        ("${side}", "${sidee}", "lab.yaml:11:74: a template can't name `sidee` here; did you mean `side`?"),
        ("${symbol}", "${id}", "lab.yaml:21:30: a template can't name `id` here; known: symbol"),
        ("${side}", "${unique}", "lab.yaml:11:74: a template can't name `unique` here"),
        ("http://127.0.0.1:1/order", "http://${symbol}:1/order", "lab.yaml:11:20: a URL is written http://host:port"),
        ('id: "${id}", side', 'idd: "x", side', "lab.yaml:11:13: its orders have no id of ours; write ${id} in it"),
        ('cancel", json: {id: "${id}"}', 'cancel"', "lab.yaml:16:13: it does not say which order to cancel"),
        ("20/s", "0/s", "lab.yaml:7:11: a rate is more than nothing and at most 2000/s; write 20/s, say"),
        ("20/s", "2001/s", "a rate is more than nothing"),
        ("20/s\n", "20/s\n    timeout: 0s\n", "lab.yaml:8:14: `timeout` must be longer than 0s"),
        ("ETHUSDT]", "SOLUSDT]", "lab.yaml:8:24: `SOLUSDT` has no price; write prices: {SOLUSDT: "),
        ("ETHUSDT]", "SOLUSDT]", "lab.yaml:9:63: `ETHUSDT` is none of the symbols"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(old: str, new: str, told: str) -> None:
    assert any(told in problem for problem in problems(with_orders([(old, new)]))), problems(with_orders([(old, new)]))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate: 20/s", "rate: 20", "lab.yaml:7:11: "),
        ("rate: 20/s", "rat: 20/s", "did you mean `rate`?"),
        ("{post: ", "{get: a, post: ", "give exactly one of get, post, put, delete"),
        ("json: {id", "body: x, json: {id", "give json or body, not both"),
        ('BUY: "1000"', "BUY: 1000", "lab.yaml:9:29: "),
        ("BUY: ", "BY: ", "lab.yaml:9:24: "),
        ("NEW: open", "NEW: opened", "lab.yaml:22:19: "),
        ("share: 20%", "share: 120%", "lab.yaml:15:14: "),
        ("      refused: status == 503\n", "", "refused"),
        ("      exchange: {http: {get: \"http://127.0.0.1:2/all?symbol=${symbol}\"}, orders: json}\n", "", "exchange"),
    ],
)  # fmt: skip
def test_what_is_no_workload_is_told_at_its_place(old: str, new: str, told: str) -> None:
    with pytest.raises(InvalidFile) as invalid:
        with_orders([(old, new)])
    assert any(told in str(problem) for problem in invalid.value.problems), invalid.value.problems


def test_a_workload_that_nobody_defined_says_what_was_meant() -> None:
    unknown = with_orders(experiment=[("workload: orders", "workload: ordrs")])
    [problem] = problems(unknown)
    assert problem == "engine-crash.yaml:9:11: environment `lab` has no workload `ordrs`; did you mean `orders`?"


def test_a_workload_that_no_experiment_names_is_not_its_business() -> None:
    unnamed = written((), [(TOP, TOP + WORKLOAD.replace("json.ok", "jsn.ok").lstrip())])
    assert planned(unnamed).workload is None


def test_a_baseline_in_which_no_order_is_due_is_an_error() -> None:
    files = with_orders([("20/s", "10/m")], [("steady-state:", "baseline: 5s\nsteady-state:")])
    [problem] = problems(files)
    assert "in a baseline of 5s no order of orders is due (10/m); make it longer, or the rate higher" in problem


def test_the_budget_counts_orders_and_cancels() -> None:
    asked = written(
        [("steady-state:", "workload: orders\nsteady-state:")],
        [
            (TOP, TOP + WORKLOAD.lstrip()),
            ("services:", "values: {api: 'http://127.0.0.1:1'}\nbudget: {api: 43/s}\nservices:"),
        ],
    )
    [problem] = problems(asked)
    assert "the probes and the workload ask api 44 times a second, its budget is 43/s" in problem
    assert asked_of(flow(), "http://127.0.0.1:1/") == pytest.approx(24)
    assert asked_of(flow(), "http://127.0.0.1:2/") == 0


EXPERIMENT = Path("experiments/engine-crash.yaml").read_text()


def test_a_parameter_can_not_set_the_workload(tmp_path: Path) -> None:
    (tmp_path / "response-matrix.yaml").write_text(Path("experiments/response-matrix.yaml").read_text())
    data = yaml.safe_load(EXPERIMENT) | {"workload": "${flow}", "parameters": {"flow": {"default": "orders"}}}
    data["fault"] = {"kill": {"service": "engine"}}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "lab.yaml").write_text("kind: Environment\nversion: 1\nname: lab\ntier: development\n" + WORKLOAD)
    made, _ = files.written(tmp_path / "e.yaml", tmp_path / "lab.yaml", {})
    assert any("a parameter can't set the workload; write its name" in problem for problem in problems(made))


def test_names_of_orders_stay_and_all_others_are_filled_in(tmp_path: Path) -> None:
    head = "kind: Environment\nversion: 1\nname: lab\ntier: development\n"
    head += "values: {gateway: 'http://127.0.0.1:1', side: X}\n"
    (tmp_path / "lab.yaml").write_text(head + WORKLOAD.replace("http://127.0.0.1:1", "${gateway}"))
    made = files.environment(tmp_path / "lab.yaml").environment.workloads["orders"]
    assert made.place.http.url == "http://127.0.0.1:1/order"
    assert made.place.http.json_["side"] == "${side}"


@pytest.mark.parametrize("name", ["sidee", "unique", "each.url"])
def test_a_name_of_nobody_is_an_error_of_the_file(name: str, tmp_path: Path) -> None:
    head = "kind: Environment\nversion: 1\nname: lab\ntier: development\n"
    (tmp_path / "lab.yaml").write_text(head + WORKLOAD.replace("${side}", "${" + name + "}"))
    with pytest.raises(InvalidFile, match=rf"lab.yaml:12:74: nothing is called `{name}`"):
        files.environment(tmp_path / "lab.yaml")


def test_an_order_s_name_outside_a_workload_is_an_error_of_the_file(tmp_path: Path) -> None:
    head = "kind: Environment\nversion: 1\nname: lab\ntier: development\n"
    (tmp_path / "lab.yaml").write_text(head + 'probes: {a: {http: {get: "http://x/${symbol}"}}}\n')
    with pytest.raises(InvalidFile, match="nothing is called `symbol`"):
        files.environment(tmp_path / "lab.yaml")
