"""Every fault on every rig that can bear it, derived from what faults need and rigs are; nothing is listed by hand.

A new fault needs an example of its arguments here; without one the suite fails.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.rigs import RIGS, Rig
from veloz_chaos import faults
from veloz_chaos.core.capability import Target
from veloz_chaos.core.fault import Fault, Receipt
from veloz_chaos.errors import Refused

SIGN = f"vc-test-{os.getpid()}"
#: Seconds until an effect is there, or gone, on a busy machine too; its own expiry is much later.
DEADLINE = 40.0

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "kill": [{}, {"signal": "TERM"}],
    "pause": [{}],
    "latency": [{"delay": "300ms"}],
    "bandwidth": [{"rate": "20KB/s"}],
    "reset": [{}, {"after": "100ms"}],
    "partition": [{}, {"how": "reset"}],
    "cpu": [{}],
    "memory": [{}],
    "out_of_memory": [{"ramp": "500ms"}],
    "disk": [{"volume": "logs"}, {"volume": "logs", "free": "64KB"}],
    "loss": [{"share": "50%"}],
    "http": [
        {"status": 503},
        {"status": 429, "retry-after": "2s", "binance": True},
        {"status": 418, "share": "30%", "path": "/api/*", "methods": ["POST"], "headers": {"X-Why": "banned"}},
        {"delay": "300ms"},
        {"truncate": "20B"},
        {"status": 500, "body": "no more", "truncate": "2B"},
        {"rate": "10/s"},
    ],
    "dns": [{"answer": "nxdomain"}, {"answer": "servfail", "names": ["rig.test"]}, {"answer": "none"}],
    "scale": [{}, {"to": 1}],
    "drain": [{}],
    "wipe": [{"volume": "data"}],
}


def known() -> dict[str, type[Fault[Any]]]:
    names = [module.name for module in pkgutil.iter_modules(faults.__path__)]
    return {name: importlib.import_module(f"veloz_chaos.faults.{name}").FAULT for name in names}


def pairs(of: tuple[type[Rig], ...] = RIGS, held: bool | None = None) -> list[Any]:
    """Parameters (rig, fault) for every pair whose rig is `of` these and whose fault is `held` or not."""
    return list(_pairs(of, held))


def _pairs(of: tuple[type[Rig], ...], held: bool | None) -> Iterator[Any]:
    for name, kind in known().items():
        for rig in of:
            if rig.bears(kind.needs) and held in (None, kind.held):
                for arguments in rig.examples.get(name, EXAMPLES[name]):
                    told = ",".join(f"{key}={value}" for key, value in arguments.items())
                    yield pytest.param(
                        rig,
                        TypeAdapter(kind).validate_python(arguments),
                        id=f"{name}({told})-{rig.__name__}",
                        marks=rig.marks,
                    )


def prepared(fault: Fault[Any], target: Target, sign: str = SIGN) -> Receipt:
    """Asked again where the machine stood still as it measured what is undisturbed: the fault could not be told from
    that."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return fault.prepare(target, sign)
        except Refused:
            if time.monotonic() > deadline:
                raise


def until(fault: Fault[Any], target: Target, receipt: Receipt, shown: bool) -> str:
    """Look until the effect is there, or gone; the evidence."""
    deadline = time.monotonic() + DEADLINE
    while (presence := fault.in_place(target, receipt)).shown is not shown:
        assert time.monotonic() < deadline, f"wanted {shown}, last look: {presence}"
    return presence.evidence
