"""What `doctor` says of an environment: every fault on everything, how or why not, within 80 columns."""

from __future__ import annotations

from typing import Any

import pytest

from veloz_chaos.cli import diagnosis
from veloz_chaos.cli.diagnosis import Reach
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.survey import Found, Inventory, Wanted
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import labelled
from veloz_chaos.targets import fake, toxiproxy


def environment(**parts: Any) -> Environment:
    return Environment.model_validate(
        {"kind": "Environment", "version": 1, "name": "lab", "tier": "development", **parts}
    )


def reach(**parts: Any) -> tuple[list[Reach], list[diagnosis.Check]]:
    return diagnosis.reach(environment(**parts))


def test_every_fault_of_its_kind_is_named_once() -> None:
    reached, checks = reach(services={"engine": {"fake": {"id": "doctored"}}})
    assert [on for on, _ in reached] == ["engine (fake)"]
    ((label, text),) = reached[0][1]
    kinds = Registry()
    assert (label, text.split(": ")[0].split(", ")) == (
        "",
        [name for name in kinds.faults() if kinds.fault(name).on == "service"],
    )
    assert [check.state for check in checks] == ["good"]


def test_what_cannot_be_found_is_explained_once_for_all() -> None:
    where = {"toxiproxy": {"api": "127.0.0.1:1", "proxy": "x"}}
    reached, checks = reach(links={"a->b": where, "a->c": where})
    assert [answers for _, answers in reached] == [reached[0][1]] * 2
    assert len(reached[0][1]) == 1
    assert reached[0][1][0][1].endswith(": no: it was not found; see below")
    assert [(check.state, check.what) for check in checks] == [("bad", "a->b, a->c")]


def made(backend: str, *offers: Any, lacks: dict[str, str] | None = None) -> Found:
    reference = fake.find("x", fake.Selector(id="doctored"))[0].reference.model_copy(update={"backend": backend})
    return Found(reference, {offer.capability: offer for offer in offers}, (), lacks or {})


def told(kind: str, backends: list[str], *found: Found, missing: str = "") -> dict[str, str]:
    assert kind in ("service", "link")
    ways = [Wanted("x", kind, backend, {}) for backend in backends]  # type: ignore[arg-type]
    inventory = Inventory({"x": found}, {"x": missing} if missing else {})
    _, answers = diagnosis._possible(ways, inventory, Registry())
    return dict(answers)


def test_the_first_way_that_can_is_named_and_the_other_one_too() -> None:
    offers = toxiproxy.Proxy.offers
    both = told("link", ["toxiproxy", "docker-link"], made("toxiproxy", *offers), made("docker-link", *offers))
    assert both["latency"].startswith("Toxiproxy: latency toxic")
    assert both["latency"].endswith("(the environment also binds docker-link)")


def test_what_nobody_bound_can_do_names_who_could() -> None:
    only = told("link", ["toxiproxy"], made("toxiproxy", *toxiproxy.Proxy.offers))
    assert only["http"] == "no: not by toxiproxy; http-proxy can"


def test_what_a_target_lacks_is_told_with_its_remedy() -> None:
    bare = told("service", ["docker"], made("docker", lacks={"Saturable": "it has no CPU limit; write cpus: 1.0"}))
    assert bare["cpu"] == "no: it has no CPU limit; write cpus: 1.0"


@pytest.mark.parametrize("width", [80, 100])
def test_it_fits(width: int) -> None:
    reached, _ = reach(services={"engine": {"fake": {"id": "doctored"}}})
    assert all(len(line) <= width for _, answers in reached for line in labelled(answers, width))
