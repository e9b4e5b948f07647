"""The rules of judging, each as a journal of a few lines. Times are milliseconds; the drawing is explained in
tests/property/simulation/writing.py. The limits: noticed within 1 s, recovered within 2 s and then held for 500 ms."""

from __future__ import annotations

from typing import Any

import pytest

from tests.property.simulation.plans import FAULT, limits, ms, plan
from tests.property.simulation.writing import MS, Journal, clock, prepared, presence, reported
from veloz_chaos import errors
from veloz_chaos.core import event as ev
from veloz_chaos.core.finding import Finding, against
from veloz_chaos.core.history import of
from veloz_chaos.core.interval import Interval
from veloz_chaos.core.judge import judge, worst
from veloz_chaos.core.matrix import ResponseMatrix, Row
from veloz_chaos.core.plan import PlannedRestore

BEFORE = "+" * 10
UNSEEN = "-" * 40
SEEN = "-" * 12 + "+" * 28


def run(healthy: str, down: str = SEEN, ends: int = 4000, **planned: Any) -> Journal:
    """The engine is killed at 1000 and found dead by 1015."""
    journal = Journal(plan(**planned)).baseline().strikes()
    return journal.looks("healthy", 0, healthy).looks("down", 0, down).ends(ends)


def held(healthy: str, down: str = SEEN, last_seen: int = 2990, gone: int = 3030, **planned: Any) -> Journal:
    """The engine is paused from 1000 to 3000."""
    journal = Journal(plan(held=True, **planned)).baseline().strikes()
    journal.is_lifted(called=3000, returned=3020, last_seen=last_seen, gone=gone)
    return journal.looks("healthy", 0, healthy).looks("down", 0, down).ends(6000)


def recovers_after(looks: int) -> str:
    return (BEFORE + "-" * looks).ljust(40, "+")


# --- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_least", "at_most", "verdict"),
    [(0, 10, "passed"), (9, 10, "passed"), (9, 11, "inconclusive"), (10, 11, "inconclusive"), (11, 12, "failed")],
)
def test_at_most_within_passes_at_least_beyond_fails_astride_is_inconclusive(
    at_least: int, at_most: int, verdict: str
) -> None:
    assert against("recovery", Interval(at_least, at_most), 10, ()).verdict == verdict


def test_the_worst_wins_and_nothing_is_inconclusive() -> None:
    passed, failed, unknown = (Finding("", verdict, "") for verdict in ("passed", "failed", "inconclusive"))
    assert worst((passed, unknown, failed)) == "failed"
    assert worst((passed, unknown)) == "inconclusive"
    assert worst((passed,)) == "passed"
    assert worst(()) == "inconclusive"


def test_a_healthy_run_passes_and_says_what_it_measured() -> None:
    judgement = run(recovers_after(5)).judge()
    assert (judgement.verdict, judgement.exit_code) == ("passed", errors.PASSED)
    assert [f.expectation for f in judgement.findings] == ["in place", "detection", "impact", "recovery"]
    detection, recovery = judgement.findings[1], judgement.findings[3]
    assert detection.measured == Interval(85 * MS, 210 * MS)
    assert recovery.measured == Interval(385 * MS, 510 * MS)
    assert (detection.limit, recovery.limit) == (1000 * MS, 2000 * MS)


def test_every_finding_names_the_lines_it_comes_from() -> None:
    journal = run(recovers_after(5))
    events = sorted(journal.events, key=lambda event: event.at)
    named = [events[entry - 1] for entry in journal.finding("recovery").entries]
    assert [(e.asked // MS, e.outcome) for e in named if isinstance(e, ev.LookTaken)] == [
        (1400, "not-shown"),
        (1500, "shown"),
    ]


def test_a_recovery_that_comes_too_late_fails() -> None:
    finding = run(recovers_after(22)).finding("recovery")
    assert (finding.verdict, finding.reason) == ("failed", "took at least 2.08 s, the limit is 2 s")


def test_a_limit_inside_the_interval_asks_for_more_looks() -> None:
    finding = run(recovers_after(20)).finding("recovery")
    assert finding.measured == Interval((2900 - 1015) * MS, (3010 - 1000) * MS)
    assert finding.verdict == "inconclusive"
    assert "look more often" in finding.reason


def test_todays_matrix_may_judge_an_old_run() -> None:
    row = Row(title="Engine Crash", detection="immediate", recovery=ms(300))
    today = ResponseMatrix(
        kind="ResponseMatrix", version=1, immediate=ms(50), give_up=ms(60_000), rows={"engine-crash": row}
    )
    judged = {f.expectation: f.verdict for f in judge(run(recovers_after(5)).history(), today).findings}
    assert (judged["detection"], judged["recovery"]) == ("failed", "failed")


def test_a_variable_recovery_is_judged_by_giving_up_alone() -> None:
    finding = run(recovers_after(22), limits=limits(recovery=None)).finding("recovery")
    assert finding.verdict == "passed"
    assert "variable" in finding.reason
    assert run(recovers_after(22), limits=limits(recovery=None, give_up=1000)).finding("recovery").verdict == "failed"


# --- detection -----------------------------------------------------------------------------------------------------


def test_what_is_never_noticed_fails_when_its_limit_has_passed() -> None:
    finding = run((BEFORE + "-" * 30), UNSEEN).finding("detection")
    assert (finding.verdict, finding.reason) == ("failed", "down was not shown within 1 s")


def test_what_heals_unseen_fails() -> None:
    assert "healed unseen" in run(recovers_after(5), UNSEEN).finding("detection").reason
    without_limit = run(recovers_after(5), UNSEEN, limits=limits(detection=None)).finding("detection")
    assert (without_limit.verdict, without_limit.reason) == ("failed", "healed unseen: down was never shown")


def test_a_signal_that_never_answers_proves_nothing() -> None:
    assert run(recovers_after(5), "-" * 10 + "?" * 30).finding("detection").verdict == "inconclusive"


def test_masking_may_be_allowed() -> None:
    assert run(recovers_after(5), UNSEEN, optional=True).finding("detection").verdict == "passed"


def test_a_signal_shown_and_lost_again_while_the_fault_is_at_work_has_flapped() -> None:
    finding = run(recovers_after(15), "-" * 12 + "++---+++".ljust(28, "+")).finding("detection")
    assert (finding.verdict, finding.reason[:7]) == ("failed", "flapped")


def test_a_signal_that_goes_when_the_system_is_back_has_not_flapped() -> None:
    assert run(recovers_after(5), "-" * 12 + "+++".ljust(28, "-")).finding("detection").verdict == "passed"


def test_a_relapse_is_to_be_noticed_anew_and_does_not_make_the_first_detection_flap() -> None:
    relapsing = (BEFORE + "---" + "++++++" + "----").ljust(40, "+")
    finding = run(relapsing, "-" * 11 + "++".ljust(29, "-")).finding("detection")
    assert finding.verdict == "passed"


def test_what_was_shown_before_the_fault_is_no_detection_of_it() -> None:
    finding = run(recovers_after(5), "-" * 8 + "+" * 32).finding("detection")
    assert (finding.verdict, finding.reason) == (
        "inconclusive",
        "down was shown already, before the fault was injected",
    )


def test_a_fault_that_ended_before_the_limit_leaves_open_whether_it_would_have_been_noticed() -> None:
    early = held(recovers_after(10), "-" * 60, last_seen=1400, gone=1500)
    assert early.finding("detection").verdict == "inconclusive"
    late = held(recovers_after(10), "-" * 60, last_seen=2400, gone=2500)
    assert late.finding("detection").verdict == "failed"


# --- impact and recovery -------------------------------------------------------------------------------------------


def test_a_fault_that_hurts_nobody_is_masked_and_fails() -> None:
    finding = run("+" * 40).finding("impact")
    assert (finding.verdict, finding.reason[:6]) == ("failed", "masked")


def died_and(*told: ev.TargetReported, healthy: str = "+" * 40, of: int = 2) -> Journal:
    """One of so many."""
    return run(healthy, of=of).add(reported(1020), *told)


def test_a_fault_that_hurts_nobody_passes_if_what_it_struck_was_seen_replaced() -> None:
    journal = died_and(reported(1100, "started", "two"), reported(2500, "replaced", "two"))
    assert journal.judge().verdict == "passed"
    found = journal.finding("recovery")
    assert found.measured == Interval(0, 1500 * MS)
    assert found.reason.endswith("nothing broke: until what took its place was seen to serve")


def test_where_nobody_else_could_serve_a_steady_state_that_held_was_blind() -> None:
    alone = died_and(reported(1100, "started"), reported(2500, "replaced"), of=1)
    assert alone.finding("impact").reason[:6] == "masked"
    assert alone.finding("recovery").verdict == "inconclusive"


def test_a_replacement_that_only_runs_or_comes_too_late_or_after_an_impact_saves_nobody() -> None:
    runs = died_and(reported(1100, "started", "two"))
    assert (runs.finding("impact").verdict, runs.finding("recovery").verdict) == ("failed", "inconclusive")
    late = died_and(reported(3500, "replaced", "two"))
    assert (late.finding("impact").verdict, late.finding("recovery").verdict) == ("passed", "inconclusive")
    hurt = died_and(reported(1100, "replaced", "two"), healthy=recovers_after(30))
    assert hurt.finding("recovery").verdict == "failed"
    unseen = died_and(reported(1100, "replaced", "two"), healthy=BEFORE + "+++    +++".ljust(30, "+"))
    assert {unseen.finding(name).verdict for name in ("impact", "recovery")} == {"inconclusive"}


def test_a_fault_that_was_taken_out_only_after_the_run_failed_to_be_reverted() -> None:
    """By hand, after a restart of the machine: its clock begins anew."""
    journal = Journal(plan(held=True, signals=(), impact="none")).baseline().strikes().looks("healthy", 0, "+" * 60)
    journal.add(presence(2990, 2995, "+"), ev.RevertBegan(fault=FAULT, by="runner", **clock(3000)))
    journal.add(ev.RevertFailed(fault=FAULT, by="runner", error="no answer", by_hand="kill -CONT 7", **clock(3600)))
    events = sorted(journal.events, key=lambda event: event.at)
    events.append(ev.RunEnded(cause="completed", by="runner", left=[FAULT], **clock(6000)))
    assert judge(of(events)).verdict == "left-behind"
    later = judge(of([*events, ev.FaultCleared(fault=FAULT, by="revert", **clock(500))]))
    assert (later.verdict, later.findings[-1].reason) == (
        "failed", "pause on engine was taken out only after the run had ended",
    )  # fmt: skip


def test_no_impact_may_be_what_is_expected() -> None:
    assert run("+" * 40, impact="none").judge().verdict == "passed"
    assert run(recovers_after(2), impact="none").finding("impact").verdict == "failed"


def test_no_impact_is_proven_only_where_somebody_looked() -> None:
    assert run(BEFORE + "+++    +++".ljust(30, "+"), impact="none").finding("impact").verdict == "inconclusive"
    assert run(BEFORE + "+++  +++".ljust(30, "+"), impact="none").finding("impact").verdict == "passed"
    assert run(BEFORE + "+" * 20 + "    ++++++", impact="none").finding("impact").verdict == "inconclusive"


def test_a_watch_in_which_nobody_looked_any_more_proves_nothing() -> None:
    assert run("+" * 20, impact="none", signals=(), ends=60_000).judge().verdict == "inconclusive"
    assert run(recovers_after(5)[:22], signals=(), settle=10_000, ends=60_000).judge().verdict == "inconclusive"
    assert run(recovers_after(5), signals=(), ends=4000).judge().verdict == "passed"


def test_a_masked_fault_that_ended_early_is_inconclusive() -> None:
    assert held("+" * 60, last_seen=1400, gone=1500).finding("impact").verdict == "inconclusive"


def test_a_fault_that_ended_early_was_not_in_place_for_as_long_as_it_should_have_been() -> None:
    gone = held(recovers_after(4), last_seen=1400, gone=1500)
    assert gone.finding("in place").verdict == "inconclusive"
    assert gone.judge().verdict == "inconclusive"
    assert held(recovers_after(24).ljust(60, "+")).judge().verdict == "passed"


def test_a_fault_that_was_found_only_while_it_was_taken_out_or_could_not_be_put_in_was_never_in_place() -> None:
    late = Journal(plan(held=True, signals=(), impact="none")).baseline().strikes(seen="-" * 10, every=200)
    late.is_lifted(called=3010, returned=3030, last_seen=3020, gone=3040).looks("healthy", 0, "+" * 60).ends(6000)
    assert (late.finding("in place").verdict, late.judge().verdict) == ("inconclusive", "inconclusive")
    failed = held("+" * 60, signals=(), impact="none")
    assert failed.judge().verdict == "passed"
    failed.add(ev.InjectionFailed(fault=FAULT, error="no answer", **clock(1020)))
    assert failed.finding("in place").reason == "the fault's effect was never found at its target: no answer"


def test_one_target_that_may_restart_excuses_no_other_fault_that_was_gone_early() -> None:
    both = held("+" * 10 + "-" * 10 + "+" * 40, signals=(), may=["target-restarted"])
    other = both.plan.faults[0].model_copy(update={"id": "f2", "on": "gateway"})
    both.plan.faults.append(other)
    both.add(reported(2995), prepared(True, 999, "f2"), ev.InjectionBegan(fault="f2", **clock(1000)))
    both.add(presence(1015, 1020, "+", "f2"), presence(1100, 1105, "-", "f2"))
    both.add(ev.FaultLost(fault="f2", cause="somebody removed it", **clock(1210)))
    both.add(ev.RevertBegan(fault="f2", by="runner", **clock(3000)))
    both.add(ev.FaultCleared(fault="f2", by="runner", **clock(3200)))
    found = both.finding("in place")
    assert (found.verdict, found.reason) == ("inconclusive", "it ended early: somebody removed it")


@pytest.mark.parametrize("may", [(), ("target-restarted",)])
def test_a_restart_of_the_target_may_end_it_early_where_the_experiment_says_so(may: tuple[str, ...]) -> None:
    restarted = held(recovers_after(4), last_seen=1400, gone=1500, may=may).add(reported(1450))
    assert restarted.finding("in place").verdict == ("passed" if may else "inconclusive")
    lost = held(recovers_after(4), last_seen=1400, gone=1500, may=may)
    assert lost.finding("in place").verdict == "inconclusive"


def test_what_breaks_after_a_fault_that_ended_early_may_be_somebody_else_s_doing() -> None:
    broken = BEFORE + "+" * 5 + "-" * 5 + "+" * 40
    assert held(broken, last_seen=1400, gone=1500, impact="none").finding("impact").verdict == "inconclusive"
    assert held(broken, impact="none").finding("impact").verdict == "failed"
    surely = BEFORE + "-" * 2 + "+" * 40
    assert held(surely, last_seen=1400, gone=1500, impact="none").finding("impact").verdict == "failed"


def test_a_fault_that_was_out_of_sight_for_most_of_its_hold_proves_nothing_that_needs_all_of_it() -> None:
    lost_sight = held("+" * 60, last_seen=1200, gone=3030, impact="none")
    found = lost_sight.finding("impact")
    assert found.verdict == "inconclusive"
    assert found.reason.endswith("no look at it was answered for 1.79 s before it was taken out")
    assert lost_sight.finding("in place").verdict == "passed"
    assert held("+" * 60, last_seen=1900, gone=3030, impact="none").finding("impact").verdict == "passed"


def test_a_hold_with_a_gap_of_more_than_three_periods_is_inconclusive() -> None:
    gap = BEFORE + "-----" + "++   +++".ljust(25, "+")
    too_long = BEFORE + "-----" + "+   +++".ljust(25, "+")
    assert run(gap.replace("   ", "  ")).finding("recovery").verdict == "passed"
    assert run(too_long).finding("recovery").verdict == "inconclusive"
    assert "400 ms without a look of healthy" in run(gap).finding("recovery").reason


def test_a_gap_while_the_system_settles_may_hide_a_relapse() -> None:
    settling = BEFORE + "-----" + ("+" * 8 + "    ").ljust(25, "+")
    assert run(settling).finding("recovery").verdict == "inconclusive"
    settled = BEFORE + "-----" + ("+" * 12 + "    ").ljust(25, "+")
    assert run(settled).finding("recovery").verdict == "passed"


def test_a_watch_that_ends_before_the_hold_is_inconclusive() -> None:
    finding = run(BEFORE + "-----+++", "-" * 12 + "+" * 6, ends=1800).finding("recovery")
    assert (finding.verdict, finding.reason[:15]) == ("inconclusive", "the watch ended")


def test_a_relapse_is_counted() -> None:
    finding = run((BEFORE + "---" + "++++++" + "--").ljust(40, "+")).finding("recovery")
    assert finding.reason == "within the limit; relapsed 1 time before"


def test_a_recovery_in_place_must_outlive_the_fault() -> None:
    survives = BEFORE + "-" * 5 + "+" * 45
    assert held(survives).finding("recovery").measured == Interval(0, 0)
    assert held(survives).finding("recovery").verdict == "passed"
    ends_with_it = Journal(plan(held=True)).baseline().strikes().is_lifted(3000, 3020, 2990, 3030)
    ends_with_it.looks("healthy", 0, (BEFORE + "-" * 5 + "+" * 15)).looks("down", 0, SEEN).ends(3200)
    assert ends_with_it.finding("recovery").verdict == "inconclusive"


def test_nobody_knows_whether_a_recovery_outlives_a_fault_that_was_not_seen_to_end() -> None:
    journal = Journal(plan(held=True)).baseline().strikes().looks("healthy", 0, recovers_after(5))
    assert journal.looks("down", 0, SEEN).ends(4000).finding("recovery").verdict == "inconclusive"


def test_a_service_that_was_restored_did_not_recover() -> None:
    journal = run(recovers_after(15))
    journal.add(ev.ServiceRestored(service="engine", procedure="start-engine", succeeded=True, **clock(2550)))
    assert journal.finding("recovery").reason == "still broken after the watch; `start-engine` was run"
    assert journal.finding("recovery").verdict == "failed"


# --- doubt ---------------------------------------------------------------------------------------------------------


def test_a_fault_that_was_not_in_place_leaves_everything_open() -> None:
    journal = Journal(plan()).baseline().strikes(seen="---").looks("healthy", 0, recovers_after(5))
    judgement = journal.looks("down", 0, SEEN).ends(4000).judge()
    assert {f.verdict for f in judgement.findings} == {"inconclusive"}
    assert judgement.exit_code == errors.INCONCLUSIVE


def test_a_clock_that_jumps_after_the_baseline_leaves_everything_open() -> None:
    journal = run(recovers_after(5)).add(ev.ClockJumped(since=0, **clock(1500)))
    assert {f.verdict for f in journal.judge().findings} == {"inconclusive"}
    before = run(recovers_after(5)).add(ev.ClockJumped(since=0, **clock(900)))
    assert before.judge().verdict == "passed"


def test_a_probe_that_was_broken_before_the_fault_leaves_everything_open() -> None:
    journal = run("+" * 9 + "-" + "-" * 5 + "+" * 25)
    assert journal.finding("recovery").reason == "healthy was broken already, before the fault was injected"


def test_a_run_that_did_not_end_passes_nothing() -> None:
    journal = run(recovers_after(5))
    journal.events.pop()
    assert journal.judge().verdict == "inconclusive"
    assert journal.finding("end of the run").verdict == "inconclusive"


# --- reverted, and where there is nothing to judge -----------------------------------------------------------------


def test_a_fault_that_was_not_taken_out_has_its_own_exit_code_and_says_how_to_mend_it() -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    failed = ev.RevertFailed(fault="f1", by="runner", error="no such process", by_hand="kill -CONT 7", **clock(3000))
    judgement = journal.add(failed).ends(4000).judge()
    assert (judgement.verdict, judgement.exit_code) == ("left-behind", errors.LEFT_BEHIND)
    assert judgement.reasons == ("f1 may still be in place (no such process); undo it with: kill -CONT 7",)
    assert journal.finding("reverted").verdict == "failed"


@pytest.mark.parametrize(("mark", "said"), [("-", "not found any more"), ("!", "can't be looked for any more")])
def test_how_a_fault_is_known_to_be_gone_is_told(mark: str, said: str) -> None:
    journal = Journal(plan(held=True)).baseline().strikes()
    journal.add(ev.RevertBegan(fault=FAULT, by="runner", **clock(3000)), presence(3010, 3020, mark))
    journal.add(ev.FaultCleared(fault=FAULT, by="runner", **clock(3030)))
    finding = journal.ends(4000).finding("reverted")
    assert finding.verdict == "passed"
    assert said in finding.reason


RESTORE = PlannedRestore(procedure="start-engine", command=["start", "the engine"], timeout=ms(9), cwd="/srv")
#: what is said of `engine`, by what its `restore` came to; None: it was not run
DOWN = [
    ({}, None, "engine is still down; nothing is known that brings it back"),
    ({}, None, "services: {engine: {restore: PROCEDURE}}"),
    ({"engine": RESTORE}, None, "engine is still down; bring it back by: cd /srv && start 'the engine'"),
    ({"engine": RESTORE}, False, "engine is still down; `start-engine` failed; bring it back by: cd /srv && start"),
    ({"engine": RESTORE}, True, "engine is still down though `start-engine` was run; bring it back by: cd /srv && "),
]


@pytest.mark.parametrize(("restores", "succeeded", "said"), DOWN)
def test_a_service_that_is_still_down_is_left_behind_and_says_what_mends_it(
    restores: dict[str, PlannedRestore], succeeded: bool | None, said: str
) -> None:
    journal = Journal(plan().model_copy(update={"restores": restores})).baseline().strikes()
    if succeeded is not None:
        journal.add(ev.ServiceRestored(service="engine", procedure="start-engine", succeeded=succeeded, **clock(8)))
    judgement = journal.add(ev.RunEnded(cause="completed", by="runner", down=["engine"], **clock(9))).judge()
    assert judgement.exit_code == errors.LEFT_BEHIND
    (reason,) = judgement.reasons
    assert said in reason


def test_a_link_is_not_down_but_what_it_connects_does_not_cope() -> None:
    ended = ev.RunEnded(cause="completed", by="runner", down=["clients->web"], **clock(9))
    judgement = Journal(plan()).baseline().strikes().add(ended).judge()
    assert judgement.exit_code == errors.LEFT_BEHIND
    (reason,) = judgement.reasons
    assert reason.startswith("the steady state does not hold again since clients->web was struck")
    assert "down" not in reason


@pytest.mark.parametrize(
    ("event", "verdict", "code"),
    [
        (ev.RunRefused(reasons=["healthy does not hold"], **clock(900)), "refused", errors.REFUSED),
        (ev.AbortRequested(cause="SIGINT received", **clock(1500)), "aborted", errors.ABORTED),
        (ev.RunnerFailed(error="KeyError", **clock(1500)), "broken", errors.BUG),
        (ev.RunEnded(cause="interrupted", by="guardian", **clock(5000)), "aborted", errors.ABORTED),
    ],
)
def test_where_there_is_nothing_to_judge_it_says_why(event: ev.Event, verdict: str, code: int) -> None:
    judgement = run(recovers_after(5)).add(event).judge()
    assert (judgement.verdict, judgement.exit_code) == (verdict, code)
    assert judgement.reasons


def test_without_a_plan_nothing_can_be_judged() -> None:
    with pytest.raises(ValueError, match="no plan"):
        judge(of([]))
