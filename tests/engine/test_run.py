"""The run in its order, and every way it can end, on a small system."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from tests.engine.system import LOOK, names, running, verdicts
from veloz_chaos import errors
from veloz_chaos.core import event as ev
from veloz_chaos.core.event import (
    Event,
    FaultLost,
    InjectionBegan,
    LookTaken,
    PresenceLooked,
    RunStarted,
    ServiceRestored,
    TargetReported,
)
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.engine import hand, journal, lock
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.probes import http
from veloz_chaos.registry import Registry
from veloz_chaos.targets import fake

PAUSE = {"pause": {"service": "system", "for": {"until": "decided", "at-most": "6s"}}}


def _at_look(
    number: int, deed: Callable[[], None], since: type[ev.Event]
) -> tuple[Registry, Callable[[ev.Event], None]]:
    """A registry of somebody else's, and who tells it of events: its http probe does a deed at the n-th look of all
    that are begun after an event."""
    looks, came = count(1), threading.Event()

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Http(http.Http):
        async def look(self, eye: Eye) -> Seen:
            if came.is_set() and next(looks) == number:
                deed()
            return await super().look(eye)

    class Theirs(Registry):
        def probe(self, name: str) -> type[Probe]:
            return Http if name == "http" else super().probe(name)

    def observe(event: ev.Event) -> None:
        if isinstance(event, since):
            came.set()

    return Theirs(), observe


@pytest.mark.parametrize("steady", [True, False])
def test_a_probe_is_closed_when_the_run_is_over(tmp_path: Path, steady: bool) -> None:
    told: list[str] = []

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Http(http.Http):
        async def open(self, eye: Eye) -> None:  # noqa: ARG002
            told.append("opened")

        def struck(self) -> None:
            told.append("struck")

        async def close(self) -> None:
            told.append("closed")
            raise TimeoutError

    class Theirs(Registry):
        def probe(self, name: str) -> type[Probe]:
            return Http if name == "http" else super().probe(name)

    with running(tmp_path) as system:
        changes = {} if steady else {"values": {"url": "http://127.0.0.1:9"}}
        system.run(system.experiment(), system.environment(**changes), registry=Theirs())
    opened = told.count("opened")
    assert opened > 1
    assert told == ["opened"] * opened + (["struck"] * opened if steady else []) + ["closed"] * opened


def test_a_kill_is_noticed_and_overcome(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        result, events = system.run(system.experiment())
    assert result.judgement.verdict == "passed", verdicts(result)
    assert names(events) == [
        "run-started", "baseline-began", "baseline-ended", "fault-prepared", "injection-began", "injection-returned",
        "run-ended",
    ]  # fmt: skip


def test_what_is_held_is_taken_out_and_looked_for(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        result, events = system.run(system.experiment(PAUSE))
        assert system.healthy
    assert result.judgement.verdict == "passed", verdicts(result)
    assert names(events)[-4:] == ["revert-began", "revert-returned", "fault-cleared", "run-ended"]


def test_an_injection_that_silently_does_nothing_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veloz_chaos.engine.run.CONFIRM", 1_000_000_000)
    with running(tmp_path, flaw="does-nothing") as system:
        result, _ = system.run(system.experiment())
    assert result.judgement.exit_code == errors.INCONCLUSIVE
    assert set(verdicts(result).values()) == {"inconclusive"}
    assert verdicts(result)["in place"] == "inconclusive"


def test_an_effect_that_comes_only_when_it_is_taken_out_was_not_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[PresenceLooked] = []
    real = hand.Hand.look

    def look(self: hand.Hand) -> PresenceLooked:
        """Its first look after the time to confirm it finds it."""
        found = real(self)
        late = bool(looks) and not shown() and found.asked > looks[0].asked + 500_000_000
        looks.append(found.model_copy(update={"outcome": "shown"}) if late else found)
        return looks[-1]

    def shown() -> list[PresenceLooked]:
        return [look for look in looks if look.outcome == "shown"]

    monkeypatch.setattr("veloz_chaos.engine.run.CONFIRM", 500_000_000)
    monkeypatch.setattr(hand.Hand, "look", look)
    with running(tmp_path, flaw="does-nothing") as system:
        result, _ = system.run(system.experiment(PAUSE))
    assert shown()
    assert verdicts(result)["in place"] == "inconclusive"


def test_a_system_that_nobody_restarts_fails_recovery_and_is_named(tmp_path: Path) -> None:
    matrix = Path("experiments/response-matrix.yaml").read_text()
    (tmp_path / "response-matrix.yaml").write_text(matrix.replace("recovery: 10s", "recovery: 3s"))
    with running(tmp_path, restarts_after=None) as system:
        result, _ = system.run(system.experiment())
    assert verdicts(result)["recovery"] == "failed"
    assert result.judgement.exit_code == errors.LEFT_BEHIND
    (reason,) = result.judgement.reasons
    assert reason.startswith("system is still down; nothing is known that brings it back")
    assert "services: {system: {restore: PROCEDURE}}" in reason


@pytest.mark.parametrize("back", ["nobody", "late", "procedure"])
def test_a_service_that_stays_dead_is_named_though_the_steady_state_does_not_look_at_it(
    back: str, tmp_path: Path
) -> None:
    matrix = Path("experiments/response-matrix.yaml").read_text()
    (tmp_path / "response-matrix.yaml").write_text(matrix.replace("recovery: 10s", "recovery: 3s"))
    quiet = {"detection": {"signals": ["reported-down"], "optional": True}, "impact": "none"}
    with running(tmp_path, restarts_after=None, lying=("/health", "/status")) as system:

        def revive(event: Event) -> None:
            if event.event == "service-restored" or (back == "late" and event.event == "injection-returned"):
                threading.Timer(1.0, fake.restart, [system.name]).start()

        bound = {"fake": {"id": system.name}} | ({"restore": "start"} if back == "procedure" else {})
        procedures = {"start": {"command": ["{python}", "-c", "pass"]}}
        environment = system.environment(services={"system": bound}, procedures=procedures)
        result, _ = system.run(system.experiment(expect=quiet), environment, observe=revive)
    if back == "late":
        assert result.judgement.verdict == "passed", verdicts(result)
    elif back == "nobody":
        assert result.judgement.exit_code == errors.LEFT_BEHIND
        assert result.judgement.reasons[0].startswith("system is still down; nothing is known that brings it back")
    else:
        assert (result.judgement.exit_code, verdicts(result)["recovery"]) == (errors.FAILED, "failed")


@pytest.mark.parametrize("given", [True, False])
def test_a_procedure_that_restores_a_service_gets_its_secrets(
    given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is a step does; nor is what it says of them written."""
    matrix = Path("experiments/response-matrix.yaml").read_text()
    (tmp_path / "response-matrix.yaml").write_text(matrix.replace("recovery: 10s", "recovery: 3s"))
    monkeypatch.setattr("veloz_chaos.engine.run.RESTORED_WITHIN", 0)
    monkeypatch.setenv("KEY", "of-the-house")

    def forget(event: Event) -> None:
        if event.event == "injection-returned" and not given:
            monkeypatch.delenv("KEY")

    with running(tmp_path, restarts_after=None) as system:
        bound = {"system": {"fake": {"id": system.name}, "restore": "start"}}
        command = ["{python}", "-c", "import sys; print(sys.argv[1][::-1], sys.argv[1])", "${env:KEY}"]
        environment = system.environment(services=bound, procedures={"start": {"command": command}})
        _, events = system.run(system.experiment(), environment, observe=forget)
    (restored,) = [event for event in events if isinstance(event, ServiceRestored)]
    assert (restored.succeeded, restored.output) == (
        (True, "esuoh-eht-fo [secret]") if given else (False, "${env:KEY} is not set; export KEY")
    )


def test_without_a_steady_state_nothing_is_touched(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        environment = system.environment(values={"url": "http://127.0.0.1:9"})
        result, events = system.run(system.experiment(), environment)
    assert result.judgement.exit_code == errors.REFUSED
    assert any("healthy does not hold: refused" in reason for reason in result.judgement.reasons)
    assert "fault-prepared" not in names(events)


def test_a_target_that_restarts_between_plan_and_injection_is_not_touched(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        theirs, observe = _at_look(1, lambda: fake.restart(system.name), ev.BaselineBegan)
        result, events = system.run(system.experiment(), registry=theirs, observe=observe)
    assert result.judgement.exit_code == errors.REFUSED
    assert "injection-began" not in names(events)


def test_a_system_that_breaks_before_the_injection_is_not_hurt(tmp_path: Path) -> None:
    def break_it() -> None:
        fake.WORLD[system.name].alive = False

    with running(tmp_path, restarts_after=None) as system:
        theirs, observe = _at_look(1, break_it, ev.BaselineBegan)
        result, events = system.run(system.experiment(PAUSE), registry=theirs, observe=observe)
    assert result.judgement.exit_code == errors.REFUSED
    assert "injection-began" not in names(events)


def test_a_signal_that_is_shown_before_the_fault_refuses_the_start(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        result, events = system.run(system.experiment(expect={"detection": ["healthy"]}))
    assert result.judgement.exit_code == errors.REFUSED
    (reason,) = result.judgement.reasons  # of a baseline that was cut short no more is said
    assert "shown already" in reason
    assert "fault-prepared" not in names(events)


def test_a_signal_that_nobody_could_read_refuses_the_start(tmp_path: Path) -> None:
    """It may have been there all the time."""
    with running(tmp_path) as system, socket.create_server(("127.0.0.1", 0)) as mute:
        at_mute = {"http": {"get": f"http://127.0.0.1:{mute.getsockname()[1]}/"}, "ok": "status == 503"}
        probes = {
            "healthy": {"http": {"get": "${url}/health"}, "ok": "status == 200", **LOOK},
            "silent": {**at_mute, "every": "50ms", "timeout": "100ms"},
        }
        asked = system.experiment(expect={"detection": ["silent"]})
        result, events = system.run(asked, system.environment(probes=probes))
    assert result.judgement.exit_code == errors.REFUSED
    assert result.judgement.reasons == ("silent gave no answer in the baseline: no answer in 0.1 s",)
    assert "fault-prepared" not in names(events)


def test_a_signal_that_falls_silent_before_the_strike_refuses_the_start(tmp_path: Path) -> None:
    class Silenced(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if silent.is_set():
                over.wait()
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    began: list[int] = []

    def silence(event: Event) -> None:
        """It was looked at in the baseline; most of that is still to come."""
        if isinstance(event, ev.BaselineBegan):
            began.append(event.at)
        if isinstance(event, LookTaken) and event.probe == "fades" and event.outcome == "not-shown":
            silent.set() if began and event.asked > began[0] else None

    silent, over = threading.Event(), threading.Event()
    with running(tmp_path) as system, ThreadingHTTPServer(("127.0.0.1", 0), Silenced) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        fading = {"http": {"get": f"http://127.0.0.1:{server.server_port}/"}, "ok": "status == 503"}
        probes = {
            "healthy": {"http": {"get": "${url}/health"}, "ok": "status == 200", **LOOK},
            "fades": {**fading, "every": "50ms", "timeout": "100ms"},
        }
        asked = system.experiment(expect={"detection": ["fades"]}, baseline="3s")
        result, events = system.run(asked, system.environment(probes=probes), observe=silence)
        over.set()
        server.shutdown()
    assert result.judgement.exit_code == errors.REFUSED
    assert result.judgement.reasons == ("fades gave no answer just before the strike: no answer in 0.1 s",)
    assert "injection-began" not in names(events)


def test_a_placebo_detects_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        result, events = system.run(system.experiment(), placebo=True)
    assert verdicts(result) == {"placebo: no detection": "passed", "placebo: no impact": "passed"}
    assert "injection-began" not in names(events)


def test_a_placebo_notices_a_system_that_fails_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as system:

        def break_it() -> None:
            fake.WORLD[system.name].alive = False

        theirs, observe = _at_look(1, break_it, ev.BaselineEnded)
        result, _ = system.run(system.experiment(), placebo=True, registry=theirs, observe=observe)
    assert set(verdicts(result).values()) == {"failed"}


def test_a_fault_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    """The target dies under its pause and comes back: the rest of the hold proves nothing."""
    with running(tmp_path, flaw="dies-by-itself") as system:
        result, events = system.run(system.experiment(PAUSE))
    assert result.judgement.verdict in ("inconclusive", "failed")
    assert result.judgement.verdict != "passed"
    assert names(events)[-1] == "run-ended"


def test_a_target_that_restarts_under_a_held_fault_loses_it_and_the_verdict_says_so(tmp_path: Path) -> None:
    """The platform reports the death: the hold ends then, and not when a look happens to miss the effect."""

    deaths = iter([True])

    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Http(http.Http):
        def struck(self) -> None:
            if next(deaths, False):
                fake.WORLD[system.name].die(out_of_memory=True)

    class Theirs(Registry):
        def probe(self, name: str) -> type[Probe]:
            return Http if name == "http" else super().probe(name)

    with running(tmp_path, restarts_after=0.05) as system:
        result, events = system.run(system.experiment(PAUSE), registry=Theirs())
    lost = next(event for event in events if isinstance(event, FaultLost))
    assert lost.cause == "the target died under the fault (exit 137, OOMKilled)"
    assert [e.what for e in events if isinstance(e, TargetReported)] == ["out-of-memory", "died", "started"]
    found = next(finding for finding in result.judgement.findings if finding.expectation == "in place")
    assert found.reason.endswith("it ended early: the target restarted under the fault (exit 137, OOMKilled)")


def test_what_is_reported_makes_a_probe_that_asks_the_platform_look_at_once(tmp_path: Path) -> None:
    @dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    class Http(http.Http):
        prompted: ClassVar[bool] = True

    class Theirs(Registry):
        def probe(self, name: str) -> type[Probe]:
            return Http if name == "http" else super().probe(name)

    with running(tmp_path) as system:
        probes = yaml.safe_load(system.environment().read_text())["probes"]
        probes["seldom"] = {"http": {"get": "${url}/health"}, "ok": "status == 200", **LOOK, "every": "30s"}
        asked = system.experiment(expect={"while": {"recovered": {"eventually": ["seldom"]}}})
        _, events = system.run(asked, system.environment(probes=probes), registry=Theirs())
    died = next(event.at for event in events if isinstance(event, TargetReported))
    for name in ("healthy", "reported-down", "seldom"):
        after = [e.asked - died for e in events if isinstance(e, LookTaken) and e.probe == name and e.asked >= died]
        assert after[0] < 10_000_000_000


def test_a_revert_that_fails_names_the_command_that_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "REVERT_PATIENCE", 1_000_000_000)
    matrix = Path("experiments/response-matrix.yaml").read_text()
    (tmp_path / "response-matrix.yaml").write_text(matrix.replace("recovery: 10s", "recovery: 3s"))
    monkeypatch.setattr("veloz_chaos.engine.run.RESTORED_WITHIN", 0)
    with running(tmp_path, flaw="revert-fails") as system:
        result, events = system.run(system.experiment(PAUSE))
    assert result.judgement.exit_code == errors.LEFT_BEHIND
    assert "undo it with: forget" in " ".join(result.judgement.reasons)
    assert "revert-failed" in names(events)
    assert verdicts(result)["reverted"] == "failed"


def test_an_alarm_ends_the_run_and_takes_the_fault_out(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        experiment = system.experiment(PAUSE, abort_when=["alarm"])
        result, events = system.run(experiment)
        assert system.healthy
    assert result.judgement.exit_code == errors.ABORTED
    assert result.judgement.reasons == ("alarm was shown",)
    assert "fault-cleared" in names(events)


def test_masked_is_failed_unless_no_impact_is_expected(tmp_path: Path) -> None:
    with running(tmp_path, lying=("/health", "/status")) as system:
        result, _ = system.run(
            system.experiment(PAUSE | {}, {"detection": {"signals": ["reported-down"], "optional": True}})
        )
    assert verdicts(result)["impact"] == "failed"
    with running(tmp_path, lying=("/health", "/status")) as system:
        quiet = {"detection": {"signals": ["reported-down"], "optional": True}, "impact": "none"}
        result, _ = system.run(system.experiment(PAUSE, quiet))
    assert result.judgement.verdict == "passed", verdicts(result)


def test_a_second_runner_is_refused_with_the_holders_name(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        request = Request(system.experiment(), system.environment())
        with (
            lock.held(planned(request, Registry()).lock, "run 1234abcd (pid 1 on here)"),
            pytest.raises(errors.Refused, match=r"run 1234abcd .*with `veloz-chaos abort --runs"),
        ):
            system.run(request.experiment, request.environment)


def test_a_run_that_is_in_the_way_says_by_which_command_it_is_ended(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        refusals: list[str] = []

        def again(event: Event) -> None:
            if isinstance(event, RunStarted):
                with pytest.raises(errors.Refused) as refused:
                    system.run(system.experiment(), runs=tmp_path / "elsewhere")
                refusals.append(str(refused.value))

        result, _ = system.run(system.experiment(), runs=tmp_path / "all runs", observe=again)
    run = result.folder.name.rpartition("-")[2]
    assert f"in use by run {run} (pid " in refusals[0]
    assert f"end it with `veloz-chaos abort {run} --runs '{tmp_path / 'all runs'}'`" in refusals[0]


def test_a_lock_that_is_free_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was on the environment first, under whatever umask."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    umask = os.umask(0o077)
    try:
        with lock.held("some", "somebody"):
            pass
    finally:
        os.umask(umask)
    (file,) = tmp_path.rglob("some.lock")
    assert stat.S_IMODE(file.stat().st_mode) == 0o666


def test_runs_that_can_not_be_written_refuse_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running(tmp_path) as system, pytest.raises(errors.Refused, match="no journal can be written"):
        system.run(system.experiment(), runs=tmp_path / "file")


def test_nothing_is_hurt_of_which_the_journal_can_not_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a guardian would believe that the fault was never injected."""
    append, paused = journal.Journal.append, list[fake.Fake]()

    def full(self: journal.Journal, event: Event, *, sync: bool = False) -> None:
        if isinstance(event, InjectionBegan):
            raise OSError(28, "No space left on device")
        append(self, event, sync=sync)

    monkeypatch.setattr(journal.Journal, "append", full)
    monkeypatch.setattr(fake.Fake, "pause", paused.append)
    with running(tmp_path) as system:
        result, _ = system.run(system.experiment(PAUSE))
    assert paused == []
    assert result.judgement.exit_code == errors.ABORTED
    assert "No space left on device" in result.judgement.reasons[0]


def test_secrets_reach_the_system_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", 'hush "quoted" hush')
    with running(tmp_path) as system:
        probe = {
            "http": {"get": "${url}/health", "headers": {"X-Token": "${env:TOKEN}"}},
            "ok": "status == 200",
            **LOOK,
        }
        down = {"http": {"get": "${url}/status"}, "ok": "status == 503", **LOOK}
        environment = system.environment(probes={"healthy": probe, "reported-down": down})
        result, _ = system.run(system.experiment(), environment)
        assert any(header.get("x-token") == 'hush "quoted" hush' for header in system.headers)
    text = (result.folder / journal.FILE).read_text()
    assert "hush" not in text
    assert "503 for [secret]" in text


def test_a_probe_that_can_t_begin_to_look_is_a_refused_start(tmp_path: Path) -> None:
    probe = {"http": {"get": "https://127.0.0.1:1/", "ca": "/nobody/s.pem"}, "every": "50ms"}
    down = {"http": {"get": "${url}/status"}, "ok": "status == 503", "every": "50ms"}
    with running(tmp_path) as system:
        environment = system.environment(probes={"healthy": probe, "reported-down": down})
        result, _ = system.run(system.experiment(), environment)
    assert result.judgement.exit_code == errors.REFUSED
    assert result.judgement.reasons == ("ca: /nobody/s.pem: No such file or directory",)


def test_a_probe_that_is_broken_is_our_bug_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with running(tmp_path) as system:
        theirs, observe = _at_look(1, fail, ev.InjectionReturned)
        result, _ = system.run(system.experiment(PAUSE), registry=theirs, observe=observe)
        assert system.healthy
    assert result.judgement.exit_code == errors.BUG
    assert "a bug" in result.judgement.reasons[0]


def test_the_journal_alone_gives_the_same_judgement(tmp_path: Path) -> None:
    from veloz_chaos.core.event import RunJudged
    from veloz_chaos.core.history import of
    from veloz_chaos.core.judge import judge
    from veloz_chaos.core.told import told

    with running(tmp_path) as system:
        result, events = system.run(system.experiment())
    *read, kept = journal.read(result.folder)
    assert read == events
    assert isinstance(kept, RunJudged)
    assert kept == RunJudged(**told(result.judgement), at=kept.at, wall=kept.wall)
    assert judge(of(read)) == result.judgement
    assert any(isinstance(event, LookTaken) for event in read)
