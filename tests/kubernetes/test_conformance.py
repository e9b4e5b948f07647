"""The laws of faults on real pods, containers and links: look first, hurt, be seen, be undone by anybody, leave none.

Pods take seconds to start, so one set of them serves all, and each fault goes through its whole life once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.pairs import EXAMPLES, SIGN, known, until
from tests.kubernetes.pods import PORT, Pods, as_json, pods
from tests.kubernetes.pods import until as eventually
from veloz_chaos.core.capability import Target, capability_of
from veloz_chaos.core.fault import Fault
from veloz_chaos.errors import Gone, Missing
from veloz_chaos.registry import Registry

pytestmark = [pytest.mark.kubernetes, pytest.mark.root, pytest.mark.xdist_group("pods")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Pods]:
    with pods() as made:
        yield made


TO = "other:80"
FOUND = {
    "pod": lambda lab: lab.selected(),
    "container": lambda lab: lab.selected(container="app"),
    "process": lambda lab: lab.selected("nested", process="veloz_engine$"),
    "link": lambda lab: lab.link(to=TO),
    "inbound": lambda lab: lab.link(inbound=PORT, address=f"{lab.pod()['status']['podIP']}:{PORT}"),
    "names": lambda lab: lab.link(to="dns", lookup=f"other.{lab.space.name}.svc.cluster.local"),
}
#: The pod and the process go through what is their own; all else is the container's, or the link's.
FOR = {
    "pod": {"kill", "pause"},
    "container": {"kill", "pause", "cpu", "memory", "out_of_memory", "disk"},
    "process": {"kill", "pause", "cpu"},
    "link": {"latency", "bandwidth", "reset", "partition", "loss"},
    "inbound": {"latency", "partition"},
    "names": {"dns"},
}


def every() -> Iterator[Any]:
    for kind, names in FOR.items():
        for name in sorted(names):
            for arguments in EXAMPLES[name]:
                if kind in ("container", "process") and arguments == {"signal": "TERM"}:
                    continue  # how long a program takes to end is its own affair
                given = {"answer": arguments["answer"]} if name == "dns" else arguments
                told = ",".join(f"{key}={value}" for key, value in given.items())
                fault = TypeAdapter(known()[name]).validate_python(given)
                yield pytest.param(kind, fault, id=f"{name}({told})-{kind}")


@pytest.mark.parametrize(("kind", "fault"), list(every()))
def test_the_life_of_a_fault(kind: str, fault: Fault[Any], lab: Pods) -> None:
    name = "nested" if kind == "process" else "app"
    lab.settle(name)
    target: Target = FOUND[kind](lab)
    assert capability_of(fault.needs) in {offer.capability for offer in target.offered()}
    assert target.leftovers() == []
    receipt = fault.prepare(target, SIGN)
    assert as_json(receipt) == receipt
    assert lab.traces(name) == []
    assert fault.in_place(target, receipt).shown is False
    fault.inject(target, receipt)
    assert until(fault, target, receipt, shown=True)
    if fault.held:
        assert target.leftovers()
        assert fault.by_hand(str(target.reference), receipt)
        reference = target.reference.model_validate_json(target.reference.model_dump_json())
        again = Registry().backend(reference.backend).reopen(reference)
        fault.revert(again, as_json(receipt))
        until(fault, again, receipt, shown=False)
        assert lab.traces(name) == []
        fault.revert(target, receipt)
        assert target.alive()
    else:
        fault.revert(target, receipt)
        assert not target.alive()
        eventually(lambda: gone(target))
        with pytest.raises(Gone):
            fault.inject(target, receipt)
    target.disarm(SIGN)
    assert not [name for name in lab.running() if SIGN in name]


def gone(target: Target) -> bool:
    """By the API server's word, which comes some time after the kernel's."""
    try:
        Registry().backend(target.reference.backend).reopen(target.reference)
    except Gone:
        return True
    return False


def test_a_container_that_was_started_again_is_another_one(lab: Pods) -> None:
    lab.settle()
    target, before = lab.selected(container="app"), lab.pod()
    fault = known()["kill"]()
    fault.inject(target, fault.prepare(target, SIGN))
    eventually(lambda: gone(target))
    lab.settle()
    again = lab.selected(container="app")
    assert lab.pod()["metadata"]["uid"] == before["metadata"]["uid"]
    assert again.reference != target.reference
    assert again.reference.identity["restarts"] > target.reference.identity["restarts"]
    target.disarm(SIGN)


def test_who_is_not_there_is_told_with_what_is(lab: Pods) -> None:
    with pytest.raises(Missing, match=r"app=app"):
        lab.selected("nobody")
    with pytest.raises(Missing, match=r"no process has a command line like /absent/.*there run"):
        lab.selected("nested", process="absent")


def test_without_a_namespace_for_helpers_only_pods_can_be_killed(lab: Pods) -> None:
    lab.common["helpers"], kept = None, lab.common["helpers"]
    try:
        pod, container = lab.selected(), lab.selected(container="app")
        assert [offer.capability for offer in pod.offered()] == ["Killable"]
        assert container.offered() == []
        assert "write helpers:" in container.lacks["Killable"]
        assert "write helpers:" in lab.link(to=TO).lacks["Severable"]
    finally:
        lab.common["helpers"] = kept
