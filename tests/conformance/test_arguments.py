"""What may be written as a fault's arguments, and what prepare refuses since it could not be told from nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.conformance.conftest import Start
from tests.conformance.pairs import EXAMPLES, SIGN, known
from tests.conformance.rigs import FakeRig, ToxiproxyHttp
from veloz_chaos.core.capability import Pausable
from veloz_chaos.errors import Gone, Refused, TargetError


def written(fault: str, **arguments: Any) -> Any:
    return TypeAdapter(known()[fault]).validate_python(arguments)


@pytest.mark.parametrize("name", sorted(known()))
def test_a_fault_has_a_schema_and_survives_json(name: str) -> None:
    adapter = TypeAdapter(known()[name])
    assert adapter.json_schema()["additionalProperties"] is False
    for arguments in EXAMPLES[name]:
        fault = adapter.validate_python(arguments)
        assert adapter.validate_json(adapter.dump_json(fault)) == fault


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        ("kill", {"signal": "CHLD"}),
        ("kill", {"singal": "TERM"}),
        ("pause", {"for": "3s"}),
        ("latency", {}),
        ("latency", {"delay": "0s"}),
        ("latency", {"delay": "100"}),
        ("latency", {"delay": "100ms", "jitter": "200ms"}),
        ("bandwidth", {"rate": 10}),
        ("bandwidth", {"rate": "10KB"}),
        ("bandwidth", {"rate": "0B/s"}),
        ("partition", {"how": "loud"}),
        ("loss", {}),
        ("loss", {"share": 30}),
        ("loss", {"share": "101%"}),
        ("http", {}),
        ("http", {"share": "30%", "path": "/"}),
        ("http", {"status": 99}),
        ("http", {"body": "x", "delay": "1s"}),
        ("http", {"status": 429, "retry-after": "1.5s"}),
        ("http", {"retry-after": "2s"}),
        ("http", {"status": 503, "binance": True}),
        ("http", {"status": 503, "headers": {"X": "a\nb"}}),
        ("http", {"status": 503, "headers": {"Content-Length": "3"}}),
        ("http", {"status": 204, "body": "x"}),
        ("http", {"rate": "10/s", "status": 429}),
        ("http", {"rate": "0/s"}),
        ("http", {"truncate": 20}),
        ("http", {"status": 503, "path": "api"}),
        ("dns", {}),
        ("dns", {"answer": "refused"}),
        ("dns", {"answer": "none", "names": ["a b"]}),
    ],
)
def test_refused_arguments(fault: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        written(fault, **arguments)


@pytest.mark.parametrize(
    ("text", "rate"), [("500B/s", 500), ("10KB/s", 10_000), ("1.5MB/s", 1_500_000), ("2 KB/s", 2_000)]
)
def test_rates(text: str, rate: int) -> None:
    assert written("bandwidth", rate=text).rate == rate


@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "sigterm"])
def test_signals(signal: str) -> None:
    assert written("kill", signal=signal).signal == "TERM"


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        ("latency", {"delay": "100ms", "jitter": "100ms"}),
        ("bandwidth", {"rate": "12MB/s"}),
        ("bandwidth", {"rate": "900MB/s"}),
        ("loss", {"share": "1%"}),
        ("http", {"status": 503, "share": "1%"}),
        ("http", {"status": 200}),
        ("http", {"truncate": "1KB"}),
    ],
)
def test_what_cannot_be_told_is_refused(fault: str, arguments: dict[str, Any], start: Start) -> None:
    with pytest.raises(Refused):
        written(fault, **arguments).prepare(start(FakeRig).target(), SIGN)


@pytest.mark.parametrize("fault", ["latency", "bandwidth", "reset", "partition", "loss", "http", "dns"])
def test_a_link_that_does_not_answer_is_refused(fault: str, start: Start) -> None:
    target = start(FakeRig).target()
    written("partition").inject(target, {"sign": "vc-other"})
    with pytest.raises(Refused):
        written(fault, **EXAMPLES[fault][0]).prepare(target, SIGN)


def test_a_paused_target_is_not_paused_again(start: Start) -> None:
    target = start(FakeRig).target()
    assert isinstance(target, Pausable)
    target.pause()
    with pytest.raises(Refused):
        written("pause").prepare(target, SIGN)


def test_the_dead_are_not_killed(start: Start) -> None:
    rig = start(FakeRig)
    target = rig.target()
    rig.remove()
    with pytest.raises(Gone):
        written("kill").prepare(target, SIGN)


def test_toxiproxy_refuses_what_it_cannot_do(start: Start) -> None:
    rig = start(ToxiproxyHttp)
    target = rig.target()
    with pytest.raises(TargetError, match="existing connections"):
        written("partition", connections="new").prepare(target, SIGN)
    for fault in (written("bandwidth", rate="900B/s"), written("reset", after="30s")):
        with pytest.raises(TargetError):
            fault.inject(target, {"sign": SIGN})
    assert rig.traces() == []


@pytest.mark.parametrize(
    ("there", "asked"),
    [({"status": 503}, {"status": 503, "share": "50%"}), ({"status": 429, "binance": True}, {"status": 429})],
)
def test_what_the_service_answers_anyway_is_no_fault(
    there: dict[str, Any], asked: dict[str, Any], start: Start
) -> None:
    target = start(FakeRig).target()
    written("http", **there).inject(target, {"sign": "vc-other"})
    with pytest.raises(Refused, match="could not be told from that"):
        written("http", **asked).prepare(target, SIGN)


def test_a_name_that_is_missing_anyway_is_no_fault(start: Start) -> None:
    target = start(FakeRig).target()
    written("dns", answer="nxdomain").inject(target, {"sign": "vc-other"})
    with pytest.raises(Refused, match="answered nxdomain undisturbed"):
        written("dns", answer="nxdomain").prepare(target, SIGN)


def test_a_loss_of_everything_is_not_the_share_that_was_asked_for(start: Start) -> None:
    target = start(FakeRig).target()
    fault = written("loss", share="30%")
    receipt = fault.prepare(target, SIGN)
    written("partition").inject(target, {"sign": "vc-other"})
    assert fault.in_place(target, receipt).shown is False


def test_evidence_says_what_was_measured(start: Start) -> None:
    target = start(FakeRig).target()
    fault = written("latency", delay="600ms")
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    presence = fault.in_place(target, receipt)
    assert presence.evidence == "601 ms (undisturbed 1.01 ms, asked +600 ms)"
    assert fault.delay == timedelta(milliseconds=600)
