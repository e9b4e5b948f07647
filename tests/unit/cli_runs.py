"""Small runs on paper: journals as a runner would leave them, made of core's own events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Offer, Reference
from veloz_chaos.core.experiment import Detection
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.plan import Plan, PlannedFault, PlannedHold, PlannedProbe

SECOND = 1_000_000_000
MS = 1_000_000
BEGAN = 3 * SECOND
WALL = 1_700_000_000.0


@dataclass(frozen=True)
class Paper:
    """What happens in it; lengths in seconds since the fault."""

    detected: float = 0.1
    recovered: float = 1.2
    watched: float = 6.0
    held: bool = False
    ended: bool = True
    manual_action: str = "none"
    run: str = "0badcafe"
    pid: int = 2**22 + 1
    pid_start: int = 1
    placebo: bool = False


def write(runs: Path, paper: Paper, name: str = "20260101T000000Z-engine-crash") -> Path:
    folder = runs / f"{name}-{paper.run}"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text("".join(ev.write(event) + "\n" for event in events(paper)))
    return folder


def plan(paper: Paper) -> Plan:
    second = timedelta(seconds=1)
    probe = PlannedProbe(
        type="http", arguments={"get": "http://x/"}, ok="status == 200", every=second / 10, timeout=second / 4
    )
    limits = Limits(
        row="engine-crash", title="Engine Crash", detection=5 * second, recovery=10 * second, give_up=600 * second,
        manual_action=paper.manual_action,
    )  # fmt: skip
    return Plan(
        experiment="engine-crash", title="The engine process dies", environment="paper", tier="development",
        limits=limits, baseline=3 * second, hold=2 * second, settle=4 * second, faults=[_fault(paper)],
        probes={"steady": probe, "signal": probe}, steady_state=["steady"], detection=Detection(signals=["signal"]),
        lock="paper", placebo=paper.placebo,
    )  # fmt: skip


def _fault(paper: Paper) -> PlannedFault:
    able = "Pausable" if paper.held else "Killable"
    return PlannedFault(
        id="f1", kind="pause" if paper.held else "kill", arguments={}, on="engine", held=paper.held,
        reference=Reference(backend="fake", name="engine", identity={"id": "gone", "incarnation": 1}),
        offer=Offer(capability=able, mechanism="on paper", touches="nothing", undo="nothing"),
        hold=PlannedHold(at_most=timedelta(seconds=30), until_decided=True) if paper.held else None,
    )  # fmt: skip


def events(paper: Paper) -> list[ev.Event]:
    found = sorted([*_looks(paper), *_deeds(paper)], key=lambda event: event.at)
    end = BEGAN + int(paper.watched * SECOND)
    return [*found, ev.RunEnded(cause="completed", by="runner", **_at(end))] if paper.ended else found


def _at(at: int) -> dict[str, float]:
    return {"at": at, "wall": WALL + at / SECOND}


def _deeds(paper: Paper) -> Iterator[ev.Event]:
    yield ev.RunStarted(run=paper.run, version="0", boot_id="paper", host="paper", pid=paper.pid,
                        pid_start=paper.pid_start, plan=plan(paper), **_at(0))  # fmt: skip
    yield ev.BaselineBegan(**_at(1))
    yield ev.BaselineEnded(**_at(BEGAN - 3 * MS))
    if paper.placebo:
        return
    fault = _fault(paper)
    yield ev.FaultPrepared(fault="f1", kind=fault.kind, arguments={}, reference=fault.reference, receipt={"sign": "vc"},
                           held=paper.held, by_hand="undo --it", expires=10**18, **_at(BEGAN - 2 * MS))  # fmt: skip
    yield ev.InjectionBegan(fault="f1", **_at(BEGAN))
    yield ev.InjectionReturned(fault="f1", **_at(BEGAN + MS))
    yield ev.PresenceLooked(fault="f1", asked=BEGAN + MS, answered=BEGAN + 2 * MS, outcome="shown",
                            evidence="it is dead", **_at(BEGAN + 2 * MS))  # fmt: skip


def _looks(paper: Paper) -> Iterator[ev.Event]:
    end = BEGAN + int(paper.watched * SECOND)
    for asked in range(10 * MS, end - 10 * MS, 100 * MS):
        since = (asked - BEGAN) / SECOND
        hurt = 0 <= since < paper.recovered and not paper.placebo
        yield _look("steady", asked, shown=not hurt)
        yield _look("signal", asked + MS, shown=hurt and since >= paper.detected)


def _look(probe: str, asked: int, *, shown: bool) -> ev.Event:
    answered = asked + 5 * MS
    return ev.LookTaken(probe=probe, asked=asked, answered=answered, outcome="shown" if shown else "not-shown",
                        reason="" if shown else "503", **_at(answered))  # fmt: skip
