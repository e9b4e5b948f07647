"""What undoes a run is in the cluster before anything is injected, and undoes it from another machine."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra import cluster
from tests.kubernetes.paused import MAPS, Paused, paused, until
from veloz_chaos.core import event as ev
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.engine import journal
from veloz_chaos.engine.mirror import Mirror
from veloz_chaos.errors import Missing, Refused
from veloz_chaos.mechanisms import proc
from veloz_chaos.mechanisms.kube_api import Api, path

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]


@pytest.fixture
def system(kubernetes: Api, tmp_path: Path) -> Iterator[Paused]:
    with paused(kubernetes, tmp_path) as made:
        yield made


def mirrored(system: Paused) -> list[ev.Event]:
    (found,) = system.mirrors()
    return [ev.read(line) for line in found["data"]["journal.jsonl"].splitlines()]


def lose_the_machine(system: Paused, run: subprocess.Popen[str]) -> None:
    """Runner and guardian die at once; the fault stays. (A runner whose guardian dies first takes it out.)"""
    run.send_signal(signal.SIGSTOP)
    (folder,) = (system.folder / "runs").glob("*")
    (guardian,) = (one for one in journal.read(folder) if isinstance(one, ev.GuardianStarted))
    proc.send(guardian.pid, guardian.pid_start, "KILL")
    run.kill()
    run.communicate()
    assert system.stopped


def test_what_undoes_a_run_is_in_the_cluster_while_the_fault_is_in_place(system: Paused) -> None:
    run = system.struck()
    kinds = [event.event for event in mirrored(system)]
    assert kinds == ["run-started", "fault-prepared", "injection-began"]
    (found,) = system.mirrors()
    started = mirrored(system)[0]
    assert isinstance(started, ev.RunStarted)
    assert found["metadata"]["name"] == f"veloz-chaos-{started.run}"
    assert found["metadata"]["labels"]["veloz-chaos/sign"] == f"vc-{started.run}"
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 5
    assert system.mirrors() == []


def test_the_guardian_removes_it_when_all_is_out(system: Paused) -> None:
    run = system.struck()
    run.kill()
    run.communicate()
    until(lambda: not system.stopped, 40)  # its fault would last for 60 s
    until(lambda: not system.mirrors(), 60)


def test_another_machine_undoes_what_a_lost_one_left_and_closes_the_run(system: Paused) -> None:
    run = system.struck()
    early = system.call("revert", "-e", str(system.environment()), runs="elsewhere")
    assert early.returncode == 4, "the runner lives"
    assert system.stopped
    lose_the_machine(system, run)

    answer = system.call("revert", "-e", str(system.environment()), runs="elsewhere")
    assert answer.returncode == 0, answer.stderr
    assert "pause on system is taken out" in answer.stdout
    assert "has the lease" in answer.stderr
    assert not system.stopped
    assert system.mirrors() == []
    assert system.holder() == ""
    (folder,) = (system.folder / "elsewhere").glob("*-small-*")
    ended = journal.read(folder)[-1]
    assert isinstance(ended, ev.RunEnded)
    assert (ended.cause, ended.by, ended.left) == ("interrupted", "revert", [])
    shown = system.call("show", folder.name, runs="elsewhere")
    assert shown.returncode == 0, shown.stderr
    again = system.call("revert", "-e", str(system.environment()), runs="elsewhere")
    assert again.returncode == 0
    assert "the cluster tells of no run" in again.stdout


def test_the_next_run_is_refused_by_the_name_of_what_was_left(system: Paused) -> None:
    lose_the_machine(system, system.struck())
    until(lambda: not_held(system), 60)
    started = mirrored(system)[0]
    assert isinstance(started, ev.RunStarted)
    system.process.send_signal(signal.SIGCONT)
    environment = str(system.environment())
    answer = system.call("run", str(system.experiment()), "-e", environment, "-q", runs="elsewhere")
    assert answer.returncode == 4
    assert f"run {started.run} of small, begun" in answer.stderr
    assert f"veloz-chaos revert -e {environment}" in answer.stderr
    assert system.call("revert", "-e", environment, runs="elsewhere").returncode == 0


def not_held(system: Paused) -> bool:
    """As an operator does who knows that the machine is gone."""
    system.api.patch(
        path("leases.coordination.k8s.io", system.namespace, "veloz-chaos"), {"spec": {"holderIdentity": ""}}
    )
    return True


def test_without_a_place_for_it_nothing_is_injected(system: Paused) -> None:
    nowhere: dict[str, Any] = {"lease": {"namespace": system.namespace}, "mirror": {"namespace": "t-nowhere"}}
    environment = str(system.environment(kubernetes=nowhere))
    answer = system.call("run", str(system.experiment()), "-e", environment, "-q")
    assert 'namespaces "t-nowhere" not found' in answer.stdout + answer.stderr
    assert answer.returncode == 4
    assert not system.stopped
    (folder,) = (system.folder / "runs").glob("*")
    assert not any(isinstance(one, ev.InjectionBegan) for one in journal.read(folder))


@pytest.mark.parametrize("heard", [False, True])
def test_what_was_kept_without_our_being_told_is_removed_as_well(
    kubernetes: Api, unheard: Callable[[str, str], None], heard: bool
) -> None:
    """Nothing was injected: it would refuse the next run for nothing."""
    with cluster.namespace() as space:
        kept = {"namespace": space.name}
        made = Mirror(Cluster.model_validate({"lease": kept, "mirror": kept}), "0a1b2c3d", "staging")
        if heard:
            made.flush()
        unheard("PUT" if heard else "POST", "configmaps")
        with pytest.raises(Refused, match="what undoes this run can't be kept"):
            made.flush()
        where = path(MAPS, space.name, "veloz-chaos-0a1b2c3d")
        assert kubernetes.get(where)
        made.note(ev.RunEnded(cause="refused", by="runner", left=[], at=0, wall=0))
        assert made.close() == ""
        with pytest.raises(Missing):
            kubernetes.get(where)


def test_what_somebody_changed_is_named_and_nothing_else_is_done(system: Paused, kubernetes: Api) -> None:
    lose_the_machine(system, system.struck())
    not_held(system)
    (found,) = system.mirrors()
    kubernetes.patch(path(MAPS, system.namespace, found["metadata"]["name"]), {"data": {"journal.jsonl": "{}\n"}})
    answer = system.call("revert", "-e", str(system.environment()), runs="elsewhere")
    assert answer.returncode == 2
    assert f"ConfigMap {system.namespace}/{found['metadata']['name']}: not the journal" in answer.stderr
    assert len(system.mirrors()) == 1
