"""What is redacted from a journal, and what never is: a secret may look like anything else."""

from __future__ import annotations

from typing import Any

import pytest

from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Reference
from veloz_chaos.engine.secrets import Secrets

AT = {"at": 1, "wall": 1.0}
REFERENCE = Reference(
    backend="toxiproxy", name="gateway->exchange", identity={"api": "10.0.0.7:8474", "proxy": "veloz"}
)
PREPARED = ev.FaultPrepared(
    fault="f1",
    kind="latency",
    arguments={"delay": "600ms"},
    reference=REFERENCE,
    receipt={"sign": "vc-0a1b2c3d-1"},
    held=True,
    by_hand="curl -X DELETE http://10.0.0.7:8474/proxies/veloz/toxics/vc-0a1b2c3d-1",
    expires=7,
    **AT,
)
UNTOUCHED = [
    PREPARED,
    ev.StepEnded(step="restore", outcome="done", **AT),
    ev.ProcedureBegan(procedure="restore", by="runner", pid=1, pid_start=2, **AT),
    ev.TargetReported(fault="f1", what="died", **AT),
    ev.RunEnded(cause="completed", by="runner", left=["f1"], **AT),
]


def redacted(event: ev.Event, *values: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    secrets = Secrets()
    for value in values:
        monkeypatch.setenv("VALUE", value)
        secrets.fill("${env:VALUE}")
    return ev.read(secrets.redact_line(ev.write(event)))


@pytest.mark.parametrize("event", UNTOUCHED, ids=lambda event: event.event)
@pytest.mark.parametrize("value", ["veloz", "10.0.0.7", "restore", "e", "f1", "died"])
def test_what_a_revert_needs_is_never_redacted(event: ev.Event, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is also the name of a namespace, or a host that is given by a variable."""
    assert redacted(event, value, monkeypatch=monkeypatch) == event


def test_what_the_system_says_is_redacted_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"name": "veloz", "by": ["a veloz b"], "number": 7}
    look = ev.LookTaken(probe="veloz", asked=1, answered=2, outcome="shown", reason="veloz", value=said, **AT)
    found = redacted(look, "veloz", "7", monkeypatch=monkeypatch)
    assert found.value == {"name": "[secret]", "by": ["a [secret] b"], "number": 7}
    assert (found.probe, found.reason, found.asked) == ("veloz", "[secret]", 1)
