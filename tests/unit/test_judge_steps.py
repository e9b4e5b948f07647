"""Steps judged: each as a journal of a few lines. A kill strikes at 1005; `loss` is its step, `noticed` waits for the
harm, and `back` has 5 s for the steady state, which must hold for 500 ms."""

from __future__ import annotations

from typing import Any

from tests.property.simulation.plans import FAULT, ms, plan
from tests.property.simulation.writing import Journal, clock, presence
from veloz_chaos.core import event as ev
from veloz_chaos.core.plan import PlannedStep

LOSS = PlannedStep(name="loss", inject=[FAULT])
NOTICED = PlannedStep(name="noticed", until=["not healthy"], within=ms(2000))
BACK = PlannedStep(name="back", until="steady-state", within=ms(5000))
CUT, SITS = PlannedStep(name="cut", inject=[FAULT]), PlannedStep(name="sits", wait=ms(2000))
RESTORED = ev.ServiceRestored(service="engine", procedure="start", succeeded=True, **clock(6900))


def journal(steps: list[PlannedStep], ends: dict[str, tuple[int, int]], **planned: Any) -> Journal:
    """`ends`: when each step began and ended."""
    made = plan(signals=(), **planned).model_copy(update={"steps": steps})
    written = Journal(made).baseline().strikes(called=1005)
    for name, (began, ended) in ends.items():
        written.add(ev.StepBegan(step=name, deadline=10**15, **clock(began)))
        written.add(ev.StepEnded(step=name, outcome="done", **clock(ended)))
    return written


def disaster(healthy: str, *more: ev.Event, back: int = 2300) -> Journal:
    ends = {"loss": (1001, 1030), "noticed": (1031, 1120), "back": (1121, back)}
    return journal([LOSS, NOTICED, BACK], ends).looks("healthy", 0, healthy.ljust(80, "+")).add(*more).ends(8000)


def cut(*seen: ev.Event, **planned: Any) -> Journal:
    """Held by a step until 3050, while the next one waits."""
    reverted = {"fault": FAULT, "by": "runner"}
    lifted = (
        ev.RevertBegan(**reverted, **clock(3050)), ev.RevertReturned(**reverted, **clock(3060)),
        presence(3070, 3075, "-"), ev.FaultCleared(**reverted, **clock(5070)),
    )  # fmt: skip
    made = journal([CUT, SITS], {"cut": (1001, 1030), "sits": (1031, 3035)}, held=True, **planned)
    return made.add(*seen, *lifted).looks("healthy", 0, "+" * 60).ends(6000)


def test_steps_that_all_ended_well_pass() -> None:
    assert disaster("+" * 10 + "-" * 5).judge().verdict == "passed"
    assert cut(presence(3040, 3045, "+")).judge().verdict == "passed"


def test_a_steady_state_that_relapsed_after_its_step_came_back_only_then() -> None:
    soon = disaster("+" * 10 + "-" * 5 + "+" * 10 + "-" * 5).finding("step back")
    assert (soon.verdict, soon.measured and soon.measured.at_most) == ("passed", 1_889_000_000)
    late = disaster("+" * 10 + "-" * 5 + "+" * 10 + "-" * 45).finding("step back")
    assert (late.verdict, late.reason) == ("failed", "took at least 5.78 s, the limit is 5 s")


def test_a_steady_state_that_a_later_step_broke_had_come_back() -> None:
    ends = {"loss": (1001, 1030), "back": (1121, 2300), "again": (2301, 2400), "whole": (2401, 7900)}
    again, whole = PlannedStep(name="again", revert=[FAULT]), PlannedStep(name="whole", until="steady-state")
    healthy = "+" * 10 + "-" * 5 + "+" * 10 + "-" * 45 + "+" * 10
    made = journal([LOSS, BACK, again, whole], ends).looks("healthy", 0, healthy).ends(8000)
    assert made.finding("step back").verdict == "passed"


def test_what_our_own_procedure_mended_after_the_last_step_did_not_recover() -> None:
    broken = "+" * 10 + "-" * 5 + "+" * 10 + "-" * 45
    assert "did not recover within 5 s" in disaster(broken, RESTORED).finding("step back").reason
    ends = {"loss": (1001, 1030), "noticed": (1031, 1120)}
    made = journal([LOSS, NOTICED], ends).looks("healthy", 0, "+" * 10 + "-" * 60 + "+" * 10).add(RESTORED).ends(8000)
    assert (made.judge().verdict, made.finding("recovery").verdict) == ("failed", "failed")


def test_a_steady_state_that_nobody_saw_hold_is_open() -> None:
    found = disaster("+" * 10 + "-" * 5 + "+" + " " * 17 + "+", back=3500).finding("step back")
    assert (found.verdict, found.reason[:40]) == ("inconclusive", "500 ms without a look of healthy, whose ")


def test_a_step_that_its_runner_saw_fail_does_not_pass_by_its_last_looks() -> None:
    made = disaster(("+" * 10 + "-" * 5 + "++++").ljust(80), back=7500)
    failed = ev.StepEnded(step="back", outcome="failed", reason="not in time", **clock(7500))
    made.events = [event for event in made.events if not (isinstance(event, ev.StepEnded) and event.step == "back")]
    found = made.add(failed).finding("step back")
    assert (found.verdict, found.reason) == (
        "inconclusive", "it came to be, but the step did not end well: not in time",
    )  # fmt: skip


def test_a_fault_that_was_gone_before_its_time_leaves_its_step_open() -> None:
    lost = ev.FaultLost(fault=FAULT, cause="gone", **clock(1210))
    found = cut(presence(1100, 1105, "-"), presence(1200, 1205, "-"), lost).finding("step cut")
    assert (found.verdict, found.reason) == ("inconclusive", "it ended early: gone")
    found = cut(presence(3040, 3045, "+"), ev.FaultLost(fault=FAULT, cause="gone", **clock(3072))).finding("step cut")
    assert found.verdict == "passed"  # it was being taken out


def test_a_fault_that_was_out_of_sight_leaves_open_what_held_all_along() -> None:
    unanswered = [presence(t, t + 100, "?") for t in range(1500, 3000, 500)]
    said = {"sits": {"always": ["healthy"]}}
    assert cut(*unanswered, while_=said).finding("while sits: always healthy").verdict == "inconclusive"
    assert cut(presence(3040, 3045, "+"), while_=said).finding("while sits: always healthy").verdict == "passed"
