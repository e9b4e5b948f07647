"""Journals of real runs, kept: judged again they give the same verdict, for the same reason, for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.judge import Judgement, judge
from veloz_chaos.engine import journal
from veloz_chaos.errors import UsageError

HERE = Path(__file__).parent
MS = 1_000_000

#: file, verdict, what failed, time to detect and to recover (at least and at most, in ms; None: never)
KEPT = [
    ("engine-crash", "passed", [], (0, 79), (1157, 1290)),
    ("network-partition", "passed", [], (879, 1100), (101, 1041)),
    ("network-latency", "passed", [], (984, 1100), (0, 1082)),
    ("engine-crash-health-lies", "failed", ["detection"], (5560, None), (1357, 1484)),
    ("engine-crash-detection-flaps", "failed", ["detection"], (0, 85), (1068, 1301)),
    ("engine-crash-relapses-after-recovery", "failed", ["recovery"], (0, 70), (13065, 13213)),
    (
        "exchange-failure-no-exchange-cache",
        "failed",
        ["while detected: always market-data-cached"],
        (1583, 1726),
        (0, 777),
    ),
    ("pod-kill-gateway-state-not-restored", "failed", ["keeps open-orders"], (0, 85), (740, 879)),
]


def events(name: str) -> list[ev.Event]:
    return journal.read(HERE / f"{name}.jsonl")


def failed(judgement: Judgement) -> list[str]:
    return [finding.expectation for finding in judgement.findings if finding.verdict == "failed"]


def in_ms(interval: Interval | None) -> tuple[float, float | None]:
    assert interval is not None
    most = interval.at_most / MS
    return round(interval.at_least / MS), None if most == float("inf") else round(most)


@pytest.mark.parametrize(("name", "verdict", "what", "detect", "recover"), KEPT, ids=[row[0] for row in KEPT])
def test_a_kept_journal_keeps_its_verdict(
    name: str, verdict: str, what: list[str], detect: tuple[int, int | None], recover: tuple[int, int | None]
) -> None:
    judgement = judge(of(events(name)))
    assert (judgement.verdict, failed(judgement)) == (verdict, what)
    assert in_ms(judgement.measurement.time_to_detect) == detect
    assert in_ms(judgement.measurement.time_to_recover) == recover


def test_the_relapses_are_counted() -> None:
    assert judge(of(events("engine-crash-relapses-after-recovery"))).measurement.relapses == 3


def test_every_kept_journal_is_judged_here() -> None:
    assert {path.stem for path in HERE.glob("*.jsonl")} == {row[0] for row in KEPT} | {"full-dr-test"}


def test_a_kept_drill_keeps_its_steps_and_its_rto() -> None:
    """Its order history is not kept, so that nothing is known of the RPO."""
    judgement = judge(of(events("full-dr-test")))
    found = {finding.expectation: finding for finding in judgement.findings}
    assert {name for name, finding in found.items() if finding.verdict != "passed"} == {"rpo"}
    assert found["rpo"].reason == "the order history is missing"
    assert in_ms(found["rto"].measured) == (3578, 4026)
    assert in_ms(found["step restore"].measured) == (3619, 3619)


def test_no_part_of_a_kept_drill_passes_and_what_it_owes_is_told() -> None:
    whole = events("full-dr-test")
    owed = [of(whole[:upto]).owed is not None for upto in range(1, len(whole))]
    began = next(n for n, event in enumerate(whole) if isinstance(event, ev.InjectionBegan))
    over = max(n for n, event in enumerate(whole) if isinstance(event, ev.StepEnded))
    assert owed == [began <= n < over for n in range(len(owed))]
    for upto in range(1, len(whole), 25):
        assert judge(of(whole[:upto])).verdict != "passed", f"the first {upto} entries"


def test_without_a_look_that_found_it_everything_is_inconclusive() -> None:
    kept = [e for e in events("network-partition") if not (isinstance(e, ev.PresenceLooked) and e.outcome == "shown")]
    judgement = judge(of(kept))
    assert judgement.verdict == "inconclusive"
    others = {f.verdict for f in judgement.findings if f.expectation != "reverted"}
    assert others == {"inconclusive"}


def test_without_the_end_of_the_revert_something_is_left() -> None:
    kept = [e for e in events("network-partition") if not isinstance(e, ev.FaultCleared)]
    judgement = judge(of(kept))
    assert (judgement.verdict, judgement.exit_code) == ("left-behind", 6)
    assert "curl" in judgement.reasons[0]


def test_no_part_of_a_passed_journal_passes() -> None:
    whole = events("engine-crash")
    for upto in range(1, len(whole)):
        assert judge(of(whole[:upto])).verdict != "passed", f"the first {upto} entries"


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    data = (HERE / "engine-crash.jsonl").read_bytes()
    (tmp_path / "torn.jsonl").write_bytes(data + b'{"at":12,"wall":1.5,"eve')
    assert journal.read(tmp_path / "torn.jsonl") == events("engine-crash")


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    lines = (HERE / "engine-crash.jsonl").read_text().splitlines(keepends=True)
    lines[41] = lines[41].replace('"outcome"', '"outcom"')
    (tmp_path / "changed.jsonl").write_text("".join(lines))
    with pytest.raises(UsageError, match=r"changed\.jsonl:42: not an event"):
        journal.read(tmp_path / "changed.jsonl")


def test_a_journal_of_a_newer_format_is_refused_clearly(tmp_path: Path) -> None:
    lines = (HERE / "engine-crash.jsonl").read_text().splitlines()
    first = json.loads(lines[0]) | {"format": ev.FORMAT + 1, "from-the-future": True}
    (tmp_path / "newer.jsonl").write_text(json.dumps(first) + "\n")
    with pytest.raises(UsageError, match="written by a newer veloz-chaos"):
        journal.read(tmp_path / "newer.jsonl")
