"""Planning: what is wrong with the files is told all at once, and what the world or the guard refuses, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.property.simulation.files import found, planned, problems, refusal, written
from veloz_chaos.core import alerts
from veloz_chaos.core.experiment import FaultCall
from veloz_chaos.core.guard import mistaken
from veloz_chaos.core.matrix import Alert
from veloz_chaos.core.planning import Choices, lock_key, pick, plan, wanted
from veloz_chaos.core.survey import Found, Inventory, Wanted
from veloz_chaos.errors import InvalidFile, Refused
from veloz_chaos.registry import Registry

PAUSE = "pause: {service: engine, for: 6s}"
KILL = "kill: {service: engine, pick: one}"
CRASH = Alert(as_="Container Crash", severity="critical", channels=["pagerduty"])


# --- a plan --------------------------------------------------------------------------------------------------------


def test_a_plan_holds_every_choice_and_limit() -> None:
    made = planned(written(), seed=7)
    assert [(f.id, f.kind, f.on, f.held, f.hold) for f in made.faults] == [("f1", "kill", "engine", False, None)]
    assert (made.limits.detection, made.limits.recovery) == (made.limits.give_up / 120, made.limits.give_up / 60)
    assert list(made.probes) == ["healthy", "down"]
    assert made.settle == 2 * made.hold
    assert made.seed == 7


def test_only_what_an_experiment_touches_is_surveyed() -> None:
    assert wanted(written(), Registry()) == [Wanted("engine", "service", "fake", {"id": "engine"})]


def test_immediate_and_variable_are_resolved_to_numbers() -> None:
    made = planned(written([("failure: engine-crash", "failure: network-partition")], [("250ms", "100ms")]))
    assert made.limits.detection == made.limits.give_up / 600
    assert made.limits.recovery is None


# --- pick ----------------------------------------------------------------------------------------------------------


def call(pick: Any) -> FaultCall:
    return FaultCall.model_validate({"kill": {"service": "engine", "pick": pick}})


def identities(picked: Sequence[Found]) -> list[int]:
    return [one.reference.identity["id"] for one in picked]


def test_the_seed_decides_and_the_order_in_which_they_were_found_does_not() -> None:
    replicas = [found(n) for n in range(5)]
    for seed in range(20):
        assert pick(call(2), replicas, seed) == pick(call(2), replicas[::-1], seed)


def test_every_replica_has_its_turn() -> None:
    replicas = [found(n) for n in range(5)]
    hit = Counter(identities(pick(call("one"), replicas, seed))[0] for seed in range(500))
    assert set(hit) == set(range(5))
    assert all(60 < times < 140 for times in hit.values())


@pytest.mark.parametrize(
    ("asked", "hit"),
    [("one", 1), ("all", 5), (2, 2), (5, 5), ("50%", 2), ("1%", 1), ("100%", 5), ("39%", 1), ("40%", 2)],
)
def test_how_many_are_hit(asked: Any, hit: int) -> None:
    assert len(pick(call(asked), [found(n) for n in range(5)], 0)) == hit


def test_fewer_than_were_asked_for_is_another_experiment() -> None:
    files = written([("pick: one", "pick: 3"), ("count: 1", "count: 3")])
    assert refusal(files, found(0), found(1)) == ["kill is to hit 3 targets of engine; there are only 2"]


# --- blast radius --------------------------------------------------------------------------------------------------


def test_a_blast_larger_than_allowed_is_refused_for_each_reason() -> None:
    files = written([("pick: one", "pick: all"), ("percent: 100%, last-replica: true", "percent: 50%")])
    assert refusal(files, found(0), found(1)) == [
        "kill would hit 2 targets of engine; blast-radius allows 1",
        "kill would hit 2 of 2 of engine; blast-radius allows 50%",
        "kill would hit the last replica of engine; blast-radius needs last-replica: true",
    ]


def test_the_only_replica_is_the_last_one() -> None:
    unsaid = written([("blast-radius: {count: 1, percent: 100%, last-replica: true}\n", "")])
    assert refusal(unsaid) == ["kill would hit the last replica of engine; blast-radius needs last-replica: true"]
    assert planned(unsaid, found(0), found(1)).faults
    assert planned(written([("percent: 100%", "percent: 50%")])).faults


@pytest.mark.parametrize("block", ["", "\nalerts: {severities: {high: error}}", "\nalerts: {catcher: 'http://c'}"])
def test_an_alert_that_nobody_can_read_is_not_checked_and_that_is_told(block: str) -> None:
    files = written([("expect:", "expect:\n  alert: {within: 30s}")], [("name: lab", f"name: lab{block}")])
    row = files.matrix.rows["engine-crash"]
    files.matrix.rows["engine-crash"] = row.model_copy(update={"alert": CRASH})
    made = planned(files)
    assert made.alert is None
    assert [warning for warning in made.warnings if "alerts are not checked" in warning]


@pytest.mark.parametrize(
    ("rules", "looked_for"),
    [("", {"failure": "engine-crash"}), (", rules: {engine-crash: [EngineDown]}", {"names": ["EngineDown"]})],
)
def test_the_rule_of_an_alert_is_looked_for_by_what_tells_it(rules: str, looked_for: dict[str, Any]) -> None:
    said = f"\nalerts: {{prometheus: 'http://p', labels: {{stage: lab}}{rules}}}"
    files = written([("expect:", "expect:\n  alert: {within: 30s}")], [("name: lab", f"name: lab{said}")])
    row = files.matrix.rows["engine-crash"]
    files.matrix.rows["engine-crash"] = row.model_copy(update={"alert": CRASH})
    made = planned(files)
    assert made.alert is not None
    assert (made.alert.labels, made.alert.sources) == ({"stage": "lab"}, [alerts.PROMETHEUS])
    assert made.probes[alerts.RULES].arguments == {"url": "http://p"} | looked_for
    assert made.probes[alerts.PROMETHEUS].arguments == {"url": "http://p"}
    assert made.probes[alerts.RULES].every == alerts.SELDOM


# --- guard ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("tier: development", "tier: production",
         "engine-crash is allowed on development, staging; lab is production"),
        ("name: lab", "name: lab\npermit: {faults: [latency]}", "lab does not permit kill"),
        ("name: lab", "name: lab\npermit: {approvals: 2}",
         "lab wants 2 approvals; make it a drill: veloz-chaos drill plan"),
        ("name: lab", "name: lab\nidentity: {kube-system-uid: x}",
         "lab is known by its kube-system-uid, and no target of this experiment can tell one; those in Kubernetes know "
         "kube-system-uid, those in Docker docker-id"),
    ],
)  # fmt: skip
def test_the_guard_says_no_and_why(old: str, new: str, reason: str) -> None:
    assert refusal(written((), [(old, new)])) == [reason]


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ({"systems": {"kube-system-uid": {"engine": "x"}}}, []),
        ({"systems": {"kube-system-uid": {"engine": "y", "gateway": "x"}}},
         ["engine is not in lab: its kube-system-uid is y, and not x"]),
        ({"unidentified": {"engine": "forbidden"}}, ["engine: whose system that is can't be told: forbidden"]),
    ],
)  # fmt: skip
def test_the_wrong_system_is_refused(said: dict[str, Any], reasons: list[str]) -> None:
    environment = written((), [("name: lab", "name: lab\nidentity: {kube-system-uid: x}")]).environment
    assert mistaken(environment, Inventory(**said)) == reasons


def test_in_production_a_held_fault_must_end_by_itself() -> None:
    files = written([("[development, staging]", "[production]"), (KILL, PAUSE)], [("development", "production")])
    assert refusal(files, found(expiry=None)) == [
        "pause on engine has no expiry of its own (memory): refused in production"
    ]
    assert planned(files).faults[0].held
    assert planned(written([(KILL, PAUSE)]), found(expiry=None)).warnings == [
        "pause on engine: no expiry; if this machine dies, only `revert` ends it"
    ]


def test_what_an_earlier_run_left_refuses_the_start() -> None:
    assert refusal(written(), found(leftovers=("the toxic vc-1 is still there",))) == [
        "engine: the toxic vc-1 is still there"
    ]


def test_all_reasons_come_at_once() -> None:
    files = written((), [("development", "production"), ("name: lab", "name: lab\npermit: {faults: [], approvals: 1}")])
    assert len(refusal(files, found(leftovers=("left",)))) == 4


def test_a_name_that_leads_nowhere_says_why() -> None:
    with pytest.raises(Refused, match="engine: no process has that pid"):
        plan(written(), Inventory({}, {"engine": "no process has that pid"}), Registry(), Choices())


def test_a_capability_that_is_missing_says_what_is_offered() -> None:
    with pytest.raises(InvalidFile) as invalid:
        planned(written(), found(Pausable=True))
    [problem] = invalid.value.problems
    assert (problem.file, problem.line) == ("engine-crash.yaml", 11)
    assert problem.message == "`kill` needs a target that is Killable; engine offers Pausable"


# --- rule 7: what could not judge the row --------------------------------------------------------------------------


def test_a_hold_not_longer_than_the_detection_limit_and_a_look_is_an_error() -> None:
    [problem] = problems(written([(KILL, PAUSE.replace("6s", "5.35s"))]))
    assert problem == (
        "engine-crash.yaml:11:33: held for at most 5.35s, but the detection limit of engine-crash with one look takes "
        "5.35s; hold it longer than 5.35s"
    )
    assert wanted(written([(KILL, PAUSE.replace("6s", "5.351s"))]), Registry())
    until = PAUSE.replace("6s", "{until: decided, at-most: 5s}")
    assert "held for at most 5s" in problems(written([(KILL, until)]))[0]


def test_a_period_and_time_out_above_a_quarter_of_the_limit_is_an_error() -> None:
    slow = ('/status"}, every: 100ms, timeout: 250ms', '/status"}, every: 1s, timeout: 251ms')
    [problem] = problems(written((), [slow]))
    assert (
        "period + time-out of down (1.251s) is above a quarter of the detection limit of engine-crash (5s)" in problem
    )
    assert wanted(written((), [(slow[0], slow[1].replace("251", "250"))]), Registry())


def test_more_looks_than_the_budget_is_an_error() -> None:
    budget = "values: {api: 'http://127.0.0.1:1'}\nbudget: {api: 19/s}\nservices:"
    [problem] = problems(written((), [("services:", budget)]))
    assert "the probes ask api 20 times a second, its budget is 19/s" in problem
    assert wanted(written((), [("services:", budget.replace("19", "20"))]), Registry())


def test_a_period_of_nothing_and_a_hold_without_looks_are_errors() -> None:
    zero = problems(written((), [("every: 100ms, timeout: 250ms}\n  down", "every: 0s, timeout: 250ms}\n  down")]))
    assert any("`every` of healthy must be longer than 0s" in problem for problem in zero)
    [short] = problems(written([("hold: 2s", "hold: 99ms")]))
    assert "a hold of 0.099s is shorter than the period of healthy (0.1s)" in short


# --- stand-ins -----------------------------------------------------------------------------------------------------

CUT = "partition: {link: gateway->engine, for: 6s}"


def stand_in(body: str, models: str = "") -> list[tuple[str, str]]:
    return [("gateway->engine: {fake: {id: wire}}", f"gateway->engine: {{stand-in: {{{body}}}{models}}}")]


def test_a_stand_in_hurts_a_service_where_no_wire_can_be_cut_and_says_so() -> None:
    files = written([(KILL, CUT)], stand_in("pause: {service: engine}", ", models: silent partition"))
    assert wanted(files, Registry()) == [Wanted("engine", "service", "fake", {"id": "engine"})]
    made = planned(files)
    [fault] = made.faults
    assert (fault.kind, fault.on, fault.held, fault.models) == ("pause", "engine", True, "silent partition")
    assert fault.hold is not None and fault.hold.at_most.total_seconds() == 6
    assert made.warnings == ["pause on engine stands in for silent partition"]


def test_a_permit_must_allow_the_fault_and_its_stand_in() -> None:
    files = written(
        [(KILL, CUT)], [*stand_in("pause: {service: engine}"), ("name: lab", "name: lab\npermit: {faults: [pause]}")]
    )
    assert refusal(files) == ["lab does not permit partition"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("paus: {service: engine}", "there is no fault `paus`; did you mean `pause`?"),
        ("pause: {service: engin}", "there is no service `engin`; did you mean `engine`?"),
        ("pause: {service: engine, gently: true}", "gently"),
        ("kill: {service: engine}", "`kill` strikes once and can't be held"),
        ("wipe: {service: engine, volume: data}", "a stand-in can't be `wipe`, which can't be undone"),
        ("pause: {}", "not a fault"),
    ],
)
def test_a_stand_in_that_is_wrong_is_an_error_and_no_crash(body: str, message: str) -> None:
    assert any(message in problem for problem in problems(written([(KILL, CUT)], stand_in(body))))


def test_only_a_partition_can_be_stood_in_for() -> None:
    files = written(
        [(KILL, "latency: {link: gateway->engine, delay: 1s, for: 6s}")], stand_in("pause: {service: engine}")
    )
    assert "link `gateway->engine` has only a stand-in, which models a partition" in problems(files)[0]


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[healthy]", "[helthy]", "9:16: environment `lab` has no probe `helthy`; did you mean `healthy`?"),
        ("[down]", "[dwn]", "environment `lab` has no probe `dwn`; did you mean `down`?"),
        ("service: engine,", "service: engin,", "environment `lab` has no service `engin`; did you mean `engine`?"),
        ("failure: engine-crash", "failure: engine-crsh", "no row `engine-crsh`; did you mean `engine-crash`?"),
        ("kill: {", "kil: {", "there is no fault `kil`; did you mean `kill`?"),
        ("kill: {", "wipe: {volume: data, ", "`wipe` can't be undone; only an experiment of `steps` may use it"),
        ("pick: one", "pick: one, signl: TERM", "signl"),
        ("  recovery:", "  keeps: [healthy]\n  recovery:", "probe `healthy` has no `value` to compare"),
        ("  recovery:", "  while: {detectd: {always: [down]}}\n  recovery:",
         "`detectd` is neither a window nor a step; did you mean `detected`?"),
        ("pick: one", "for: 3s", "`kill` strikes once and can't be held; leave `for` out"),
        ("kill: {service: engine, pick: one}", "pause: {service: engine}", "`pause` must say how long"),
        ("kill: {service: engine", "kill: {link: gateway->engine", "`kill` acts on a service"),
        ("pick: one", "pick: leader", "`leader` can't be picked by this version"),
    ],
)  # fmt: skip
def test_a_name_that_is_wrong_says_what_was_meant(old: str, new: str, message: str) -> None:
    assert any(message in problem for problem in problems(written([(old, new)])))


def test_a_volume_that_is_not_there_is_told_before_anything_is_looked_at() -> None:
    disk = (KILL, "disk: {service: engine, volume: lags, for: 6s}")
    named = written([disk], [("id: engine", "id: engine, volumes: {logs: {path: /l}}")])
    assert "names no such volume of engine: `lags`; did you mean `logs`?" in "".join(problems(named))
    assert wanted(written([disk]), Registry())


def test_everything_wrong_is_told_at_once_in_the_order_of_the_files() -> None:
    experiment = [("[healthy]", "[helthy]"), ("[down]", "[dwn]"), ("failure: engine-crash", "failure: engine-crsh")]
    environment = [("every: 100ms, timeout: 250ms}\n  down", "ok: 'status ==', every: 100ms}\n  down")]
    told = problems(written(experiment, environment))
    assert len(told) == 3
    assert told == sorted(told, key=lambda text: (text.split(":")[0], int(text.split(":")[1])))


def test_two_environments_that_reach_the_same_things_share_a_lock() -> None:
    here, there = written(), written((), [("id: engine", "id: other")])
    assert lock_key(here.environment) == lock_key(written().environment)
    assert lock_key(here.environment) != lock_key(there.environment)
