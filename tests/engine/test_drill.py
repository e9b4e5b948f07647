"""Drills: a plan that people approve with their keys, each way to be refused, go and no-go, and the evidence of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.system import System, running
from tests.unit.test_evidence import allowed, key
from veloz_chaos.cli import operator
from veloz_chaos.cli.app import start
from veloz_chaos.core import drill
from veloz_chaos.core import event as ev
from veloz_chaos.engine import confirm, journal
from veloz_chaos.targets import fake

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")


@dataclass
class Lab:
    """Bob runs drills, Alice and Carol approve them, Mallory is nobody's."""

    folder: Path
    system: System
    capsys: pytest.CaptureFixture[str]
    keys: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {name: key(self.folder, name) for name in ("alice", "bob", "carol", "mallory")}
        allowed(self.folder, **{name: path for name, path in self.keys.items() if name != "mallory"})
        self.environment = self.system.environment(permit={"approvals": 2, "signers": "allowed-signers"})
        self.experiment = self.system.experiment()
        self.file = self.folder / "drill.plan"

    def call(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        code = start(["drill", *words])
        said = self.capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    def plan(self, *more: str, experiment: Path | None = None) -> tuple[int, str]:
        named = str(experiment or self.experiment), "-e", str(self.environment)
        return self.call("plan", *named, "-o", str(self.file), *more)

    def approve(self, *names: str, more: tuple[str, ...] = ()) -> None:
        for name in names:
            words = "--key", str(self.keys[name]), "--by", f"{name}@example.com"
            code, said = self.call("approve", str(self.file), *words, *more)
            assert code == 0, said

    def run(self, *more: str) -> tuple[int, str]:
        return self.call("run", str(self.file), "--runs", str(self.folder / "runs"), *(more or ("--yes",)))

    def edit(self, change: Callable[[list[str]], Any]) -> None:
        lines = self.file.read_text().splitlines()
        change(lines)
        self.file.write_text("".join(f"{line}\n" for line in lines))

    def runs(self) -> list[Path]:
        """Those that have a journal already."""
        return sorted(path.parent for path in (self.folder / "runs").glob(f"*-*/{journal.FILE}"))


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(operator, "name", lambda: "bob")
    with running(tmp_path) as system:
        yield Lab(tmp_path, system, capsys)


# --- as it should be -----------------------------------------------------------------------------------------------


def test_a_drill_is_planned_approved_run_and_its_evidence_is_checked(lab: Lab) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    code, said = lab.plan("--to", "2h", "--role", "commander=carol")
    assert code == 0
    for word in (
        "target kill on system",
        "blast radius",
        "undo",
        "abort when",
        "executor bob",
        "role commander: carol",
    ):
        assert word in said
    lab.approve("alice", more=("--until", "1d"))
    lab.approve("carol")
    code, said = lab.run()
    assert code == 0, said
    assert "PASSED small on small" in said
    assert "approved by alice@example.com, carol@example.com; run by bob" in said
    (folder,) = lab.runs()
    approved = next(event for event in journal.read(folder) if isinstance(event, ev.RunApproved))
    assert (approved.needed, len(approved.approvals), approved.executor) == (2, 2, "bob")
    assert drill.digest(approved.document) == approved.sha256
    assert lab.call("minutes", str(folder))[1].startswith((today, f"{datetime.now(UTC):%Y-%m-%d}"))

    bundle, signers = lab.folder / "drill.tar.gz", str(lab.folder / "allowed-signers")
    assert start(["evidence", "make", str(folder), "-o", str(bundle), "--sign", str(lab.keys["carol"])]) == 0
    assert start(["evidence", "verify", str(bundle), "--signers", signers]) == 0
    allowed(lab.folder, carol=lab.keys["carol"])
    lab.capsys.readouterr()
    assert start(["evidence", "verify", str(bundle), "--signers", signers]) == 1
    assert (
        "approvals.json: the approval by alice@example.com: is not signed by alice@example.com"
        in lab.capsys.readouterr().out
    )


def test_a_journal_whose_approvals_do_not_hold_is_no_evidence(lab: Lab) -> None:
    ready(lab)
    assert lab.run()[0] == 0
    path = lab.runs()[0] / journal.FILE
    whole = path.read_text()
    verdicts: dict[str, Callable[[Any], Any]] = {
        "it needs 2 approvals by different people; 1 of them is here": lambda one: one["approvals"].pop(),
        "is of another plan": lambda one: one["approvals"][0].update(plan="0" * 64),
        "is the executor's own": lambda one: one.update(person="alice"),
        "another plan was approved than the one that was run": lambda one: one.update(
            document=one["document"].replace('"seed":0', '"seed":1')
        ),
        "expired at": lambda one: one["approvals"][0].update(until="2020-01-01T00:00:00+00:00"),
        "can't be read": lambda one: one.update(document="[]"),
    }
    for n, (wanted, change) in enumerate(verdicts.items()):
        lines = whole.splitlines(keepends=True)
        approved = json.loads(lines[1])
        change(approved)
        path.write_text("".join([lines[0], json.dumps(approved) + "\n", *lines[2:]]))
        bundle = str(lab.folder / f"{n}.tar.gz")
        assert start(["evidence", "make", str(path.parent), "-o", bundle]) == 0
        lab.capsys.readouterr()
        assert start(["evidence", "verify", bundle]) == 1
        assert wanted in lab.capsys.readouterr().out


def test_the_same_world_makes_the_same_plan(lab: Lab) -> None:
    lab.plan()
    first = lab.file.read_bytes()
    lab.plan()
    assert lab.file.read_bytes() == first
    code, said = lab.call("show", str(lab.file))
    assert (code, drill.digest(first.decode().splitlines()[0]) in said) == (0, True)


def test_without_approvals_wanted_none_is_needed(lab: Lab) -> None:
    lab.environment = lab.system.environment()
    lab.plan()
    assert lab.run()[0] == 0


# --- refused -------------------------------------------------------------------------------------------------------


def refused(lab: Lab, *reasons: str) -> None:
    code, said = lab.run()
    assert code == 4, said
    for reason in reasons:
        assert reason in said
    assert lab.runs() == []
    assert lab.system.healthy


def test_a_plain_run_is_refused_where_approvals_are_wanted(lab: Lab) -> None:
    lab.capsys.readouterr()
    assert start(["run", str(lab.experiment), "-e", str(lab.environment)]) == 4
    assert "small wants 2 approvals; make it a drill" in lab.capsys.readouterr().err


def test_an_approval_is_missing(lab: Lab) -> None:
    lab.plan()
    refused(lab, "it needs 2 approvals by different people; none of them is here")
    lab.approve("alice")
    refused(lab, "it needs 2 approvals by different people; 1 of them is here")


def test_one_person_counts_once_and_so_does_one_key(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "alice")
    refused(lab, "1 of them is here")
    signers = lab.folder / "allowed-signers"
    signers.write_text(signers.read_text() + f"dave@example.com {lab.keys['alice'].with_suffix('.pub').read_text()}")
    lab.plan()
    lab.approve("alice")
    lab.keys["dave"] = lab.keys["alice"]
    lab.approve("dave")
    refused(lab, "1 of them is here")


def test_an_approval_has_expired(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", more=("--until", "1s"))
    lab.approve("carol")
    time.sleep(2.1)
    refused(lab, "the approval by alice@example.com: expired at")
    assert lab.call("approve", str(lab.file), "--key", str(lab.keys["alice"]), "--until", "2020-01-01")[0] == 2


def test_who_prolongs_an_approval_breaks_its_signature(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "carol")
    lab.edit(lambda lines: lines.__setitem__(1, lines[1].replace('"until":""', '"until":"2999-01-01T00:00:00+00:00"')))
    refused(lab, "the approval by alice@example.com: is not signed by alice@example.com")


def test_an_approval_is_forged(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice")
    code, said = lab.call(
        "approve", str(lab.file), "--key", str(lab.keys["mallory"]), "--by", "carol@example.com"
    )  # fmt: skip
    assert code == 0  # whose keys count is decided when it is run
    assert "note: it would be refused as things are: is not signed by carol@example.com" in said
    refused(lab, "the approval by carol@example.com: is not signed by carol@example.com")
    lab.edit(lambda lines: lines.__setitem__(2, lines[1].replace("alice", "carol")))
    refused(
        lab, "the approval by carol@example.com: is not signed by carol@example.com; the key is alice@example.com's"
    )


def test_an_approval_is_the_executors_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.plan()
    code, said = lab.call("approve", str(lab.file), "--key", str(lab.keys["bob"]), "--by", "bob@example.com")
    assert (code, "bob@example.com executes this drill" in said) == (2, True)
    lab.plan("--executor", "dave")
    lab.approve("bob", "carol")
    refused(lab, "the approval by bob@example.com: is the executor's own")
    monkeypatch.setattr(operator, "name", lambda: "dave")
    assert lab.run()[0] == 0


def test_an_approval_is_replayed_from_another_plan(lab: Lab) -> None:
    lab.plan("--seed", "1")
    lab.approve("alice")
    old = lab.file.read_text().splitlines()[1]
    lab.plan("--seed", "2")
    lab.approve("carol")
    lab.edit(lambda lines: lines.append(old))
    refused(lab, "the approval by alice@example.com: is of another plan")
    digest = drill.digest(lab.file.read_text().splitlines()[0])
    moved = json.dumps(json.loads(old) | {"plan": digest})
    lab.edit(lambda lines: lines.__setitem__(2, moved))
    refused(lab, "the approval by alice@example.com: is not signed by alice@example.com")


def test_it_is_outside_its_window(lab: Lab) -> None:
    lab.plan("--from", "1h", "--to", "2h")
    lab.approve("alice", "carol")
    refused(lab, "its window begins only at")
    lab.plan("--to", "1s")
    lab.approve("alice", "carol")
    time.sleep(2.1)
    refused(lab, "its window ended at")
    assert lab.plan("--to", "2020-01-01")[0] == 2
    assert lab.plan("--from", "2h", "--to", "1h")[0] == 2
    assert lab.plan("--from", "soon")[0] == 2


def test_the_plan_was_changed_by_one_byte(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "carol")
    lab.edit(lambda lines: lines.__setitem__(0, lines[0].replace('"seed":0', '"seed":1', 1)))
    refused(lab, "is of another plan", "plan.seed was 0, is 1")
    lab.edit(lambda lines: lines.__setitem__(0, lines[0].replace('"seed":1', '"seed": 0', 1)))
    refused(lab, "its first line is not as `drill plan` wrote it")


def test_the_target_is_another_one_now(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "carol")
    fake.restart(lab.system.name)
    refused(lab, "the world is not as planned: targets[0]", "plan.faults[0].reference.identity.incarnation was")


def test_a_file_was_changed(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "carol")
    data = yaml.safe_load(lab.experiment.read_text())
    lab.experiment.write_text(yaml.safe_dump(data | {"baseline": "400ms"}))
    refused(lab, "plan.baseline was", f"plan.sources.{lab.experiment} was")


def test_the_allowed_signers_were_changed(lab: Lab) -> None:
    lab.plan()
    lab.approve("alice", "carol")
    allowed(lab.folder, **lab.keys)
    refused(lab, "signers-sha256 was")


def test_every_reason_is_told_at_once(lab: Lab) -> None:
    lab.plan("--from", "1h", "--to", "2h")
    lab.approve("alice")
    fake.restart(lab.system.name)
    lab.edit(lambda lines: lines.append("rubbish"))
    refused(
        lab, "line 3 is no approval", "its window begins only at", "the world is not as planned", "1 of them is here"
    )
    fake.WORLD[lab.system.name].alive = False
    lab.system.restarts_after = None
    refused_all = lab.run()[1]
    assert "1 of them is here" in refused_all


def test_production_wants_its_name_as_well(lab: Lab) -> None:
    lab.experiment = lab.system.experiment(allowed_on=["production"])
    lab.environment = lab.system.environment(permit={"approvals": 2, "signers": "allowed-signers"}, tier="production")
    lab.plan()
    lab.approve("alice")
    refused(lab, "small is production; type its name", "1 of them is here")
    lab.approve("carol")
    assert lab.run("--yes", "--confirm", "small")[0] == 0


def test_a_file_of_signers_is_wanted(lab: Lab) -> None:
    lab.environment = lab.system.environment(permit={"approvals": 1})
    code, said = lab.plan()
    assert (code, "it does not say permit.signers" in said) == (2, True)
    lab.environment = lab.system.environment(permit={"approvals": 1, "signers": "nowhere"})
    assert "there is no file" in lab.plan()[1]
    (lab.folder / "x").write_text("no plan\n")
    assert lab.call("run", str(lab.folder / "x"))[0] == 2
    assert lab.call("show", str(lab.folder / "missing"))[0] == 2


def test_roles_that_steps_name_have_to_be_filled(lab: Lab) -> None:
    path = stepwise(lab, {"name": "declare", "manual": {"do": "Declare it", "by": "commander", "within": "5s"}})
    code, said = lab.plan(experiment=path)
    assert (code, "nobody is commander; say who: --role commander=NAME" in said) == (2, True)
    assert lab.plan("--role", "commander=carol", experiment=path)[0] == 0
    assert lab.plan("--role", "commander", experiment=path)[0] == 2


def test_a_step_of_drills_only_is_taken_in_a_drill(lab: Lab) -> None:
    declare = {"name": "declare", "manual": {"do": "Declare it", "by": "commander", "within": "10s"}}
    ready(lab, stepwise(lab, declare | {"drills-only": True}, twice=False), "--role", "commander=carol")
    assert "step declare: commander confirms, within 10 s: Declare it" in lab.call("show", str(lab.file))[1]
    with confirmed(lab, "declare"):
        code, said = lab.run()
    assert code == 0, said
    assert "step declare done by carol" in said


# --- blackouts -----------------------------------------------------------------------------------------------------


def blacked_out(lab: Lab, begin: timedelta, end: timedelta) -> None:
    """From then to then, from now; edges are whole minutes."""
    now = datetime.now(UTC)
    edges = {"from": f"{now + begin:%Y-%m-%d %H:%M}", "to": f"{now + end:%Y-%m-%d %H:%M}"}
    data = yaml.safe_load(lab.system.environment(permit={"approvals": 2, "signers": "allowed-signers"}).read_text())
    lab.environment = lab.folder / f"black-{begin}.yaml"
    lab.environment.write_text(json.dumps(data | {"blackouts": [{"title": "migration", **edges}]}))


def test_a_drill_in_a_blackout_is_refused_when_planned_and_when_run(lab: Lab) -> None:
    blacked_out(lab, timedelta(hours=1), timedelta(hours=3))
    code, said = lab.plan("--from", "2h")
    assert (code, "small is in the blackout migration until" in said) == (4, True), said
    blacked_out(lab, timedelta(hours=-1), timedelta(hours=2))
    assert lab.plan()[0] == 4
    assert lab.plan("--from", "3h")[0] == 0  # it is for later
    lab.approve("alice", "carol")
    code, said = lab.run()
    assert (code, "small is in the blackout migration until" in said) == (4, True), said
    assert "its window begins only at" in said


def test_a_plain_run_in_a_blackout_is_refused_and_plan_says_so(lab: Lab) -> None:
    now = datetime.now(UTC)
    edges = {"from": f"{now - timedelta(days=1):%Y-%m-%d}", "to": f"{now + timedelta(days=1):%Y-%m-%d}"}
    there = str(lab.system.environment(blackouts=[{"title": "migration", **edges}]))
    for command in ("run", "plan"):
        lab.capsys.readouterr()
        assert start([command, str(lab.experiment), "-e", there]) == 4
        told = f"small is in the blackout migration until {now + timedelta(days=2):%Y-%m-%d} 00:00 UTC"
        assert told in " ".join(lab.capsys.readouterr().err.split())
    assert lab.runs() == []


# --- go and no-go --------------------------------------------------------------------------------------------------


def stepwise(lab: Lab, *before: dict[str, Any], twice: bool = True) -> Path:
    data = yaml.safe_load(lab.experiment.read_text()) | {"failure": "full-dr"}
    del data["fault"], data["expect"]["detection"]
    loss = {"name": "loss", "inject": [{"kill": {"service": "system"}}]}
    back = {"name": "back", "until": "steady-state", "within": "5s"}
    again = {"name": "again", "inject": [{"kill": {"service": "system"}}]}
    path = lab.folder / "stepwise.yaml"
    more = [again, back | {"name": "whole"}] if twice else []
    path.write_text(json.dumps(data | {"steps": [*before, loss, back, *more]}))
    return path


@contextmanager
def answering(lab: Lab, **words: bool) -> Iterator[None]:
    """Somebody says go or no-go for each strike when it is asked."""

    def answer() -> None:
        deadline = time.monotonic() + 20
        left = dict(words)
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            for folder in lab.runs():
                name = next((e.name for e in reversed(journal.read(folder)) if isinstance(e, ev.GoAsked)), "")
                if name in left:
                    confirm.confirm(folder, name, "carol", go=left.pop(name))

    with meanwhile(answer):
        yield


@contextmanager
def confirmed(lab: Lab, step: str) -> Iterator[None]:
    """Somebody confirms a manual step once it is asked for, by the command."""

    def asked() -> bool:
        return any(
            isinstance(event, ev.StepBegan) and event.step == step
            for folder in lab.runs()
            for event in journal.read(folder)
        )

    def answer() -> None:
        deadline = time.monotonic() + 20
        while not asked() and time.monotonic() < deadline:
            time.sleep(0.02)
        confirm.confirm(lab.runs()[0], step, "carol")

    with meanwhile(answer):
        yield


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Somebody does that beside us, and has done it at the end."""
    person = threading.Thread(target=act)
    person.start()
    try:
        yield
    finally:
        person.join()


def ready(lab: Lab, experiment: Path | None = None, *more: str) -> None:
    lab.plan(*more, experiment=experiment)
    lab.approve("alice", "carol")


def test_a_strike_waits_for_a_go(lab: Lab) -> None:
    ready(lab)
    with answering(lab, go=True):
        code, said = lab.run("--go-within", "15s")
    assert code == 0, said
    assert "go or no-go for go?" in said
    assert "go for go by carol" in said


def test_a_no_go_ends_it_before_anything_is_touched(lab: Lab) -> None:
    ready(lab)
    with answering(lab, go=False):
        code, said = lab.run("--go-within", "15s")
    assert (code, "no-go for go by carol" in said) == (4, True), said
    assert not any(isinstance(event, ev.FaultPrepared) for event in journal.read(lab.runs()[0]))
    bundle = str(lab.folder / "no-go.tar.gz")
    assert start(["evidence", "make", str(lab.runs()[0]), "-o", bundle]) == 0
    assert start(["evidence", "verify", bundle, "--signers", str(lab.folder / "allowed-signers")]) == 1
    assert "it is not signed" in lab.capsys.readouterr().out
    assert start(["evidence", "verify", bundle]) == 0


def test_nobody_says_go(lab: Lab) -> None:
    ready(lab)
    code, said = lab.run("--go-within", "300ms")
    assert (code, "nobody said go for go within 0.3 s" in said) == (4, True), said


def test_ctrl_c_ends_it_while_it_waits(lab: Lab) -> None:
    ready(lab)

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.02)
            if any(isinstance(e, ev.GoAsked) for folder in lab.runs() for e in journal.read(folder)):
                os.kill(os.getpid(), signal.SIGINT)
                return

    person = threading.Thread(target=interrupt)
    person.start()
    code, said = lab.run("--go-within", "15s")
    person.join()
    assert (code, "aborting: SIGINT received" in said) == (5, True), said


def test_each_strike_is_asked_for_and_a_later_no_go_aborts(lab: Lab) -> None:
    ready(lab, stepwise(lab))
    with answering(lab, loss=True, again=False):
        code, said = lab.run("--go-within", "15s")
    assert code == 5, said
    assert "no-go for again by carol" in said
    events = journal.read(lab.runs()[0])
    assert [e.name for e in events if isinstance(e, ev.GoAsked)] == ["loss", "again"]
    assert sum(isinstance(event, ev.InjectionBegan) for event in events) == 1
