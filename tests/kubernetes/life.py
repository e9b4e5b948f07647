"""The life of one fault on real pods: look first, hurt, be seen, be undone by anybody, leave none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.pairs import EXAMPLES, SIGN, known, prepared, until
from tests.kubernetes.pods import PORT, Pods, as_json
from tests.kubernetes.pods import until as eventually
from veloz_chaos.core.capability import Target, capability_of
from veloz_chaos.core.fault import Fault
from veloz_chaos.errors import Gone, Missing
from veloz_chaos.registry import Registry

TO = "other:80"


def _child(lab: Pods) -> Target:
    """Once it is there: a pod is ready before its process has a child, and between one child and the next."""
    found: list[Target] = []

    def comes() -> bool:
        with suppress(Missing):
            found.append(lab.selected("nested", process="veloz_engine$"))
        return bool(found)

    eventually(comes)
    return found[0]


FOUND: Mapping[str, Callable[[Pods], Target]] = {
    "pod": lambda lab: lab.selected(),
    "container": lambda lab: lab.selected(container="app"),
    "process": lambda lab: _child(lab),
    "link": lambda lab: lab.link(to=TO),
    "inbound": lambda lab: lab.link(inbound=PORT, address=f"{lab.pod()['status']['podIP']}:{PORT}"),
    "names": lambda lab: lab.link(to="dns", lookup=f"other.{lab.space.name}.svc.cluster.local"),
}


def every(of: Mapping[str, set[str]]) -> Iterator[Any]:
    """Parameters (kind, fault) for the faults named for each kind."""
    for kind, names in of.items():
        for name in sorted(names):
            for arguments in EXAMPLES[name]:
                if kind in ("container", "process") and arguments == {"signal": "TERM"}:
                    continue  # how long a program takes to end is its own affair
                given = {"answer": arguments["answer"]} if name == "dns" else arguments
                told = ",".join(f"{key}={value}" for key, value in given.items())
                fault = TypeAdapter(known()[name]).validate_python(given)
                yield pytest.param(kind, fault, id=f"{name}({told})-{kind}")


def live(kind: str, fault: Fault[Any], lab: Pods) -> None:
    name = "nested" if kind == "process" else "app"
    lab.settle(name)
    target = FOUND[kind](lab)
    assert capability_of(fault.needs) in {offer.capability for offer in target.offered()}
    assert target.leftovers() == []
    receipt = prepared(fault, target)
    assert as_json(receipt) == receipt
    assert lab.traces(name) == []
    until(fault, target, receipt, shown=False)
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
    assert not [one for one in lab.running() if SIGN.removeprefix("vc-") in one]


def gone(target: Target) -> bool:
    """By the API server's word, which comes some time after the kernel's."""
    try:
        Registry().backend(target.reference.backend).reopen(target.reference)
    except Gone:
        return True
    return False
