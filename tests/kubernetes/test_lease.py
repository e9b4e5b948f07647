"""One run at a time on an environment, wherever it is started: by a lease of a real cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from tests.infra import cluster
from tests.kubernetes.paused import LEASES, Paused, paused, until
from veloz_chaos.errors import Refused, Unavailable
from veloz_chaos.mechanisms.kube_api import Api, path
from veloz_chaos.mechanisms.kube_lease import take

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def space(kubeconfig: str) -> Iterator[str]:  # noqa: ARG001
    with cluster.namespace() as made:
        yield made.name


@pytest.fixture
def system(kubernetes: Api, tmp_path: Path) -> Iterator[Paused]:
    with paused(kubernetes, tmp_path) as made:
        yield made


def spec(api: Api, space: str, name: str) -> dict[str, object]:
    found: dict[str, object] = api.get(path(LEASES, space, name))["spec"]
    return found


def test_a_second_holder_is_refused_at_once_by_the_first_one_s_name(kubernetes: Api, space: str) -> None:
    first = take(kubernetes, space, "second", "run 1 (a@b)")
    began = time.monotonic()
    with pytest.raises(
        Refused, match=r"in use by run 1 \(a@b\) until \d\d:\d\d:\d\d UTC.* end it on b with `veloz-chaos abort 1 "
    ):
        take(kubernetes, space, "second", "run 2 (c@d)")
    assert time.monotonic() - began < 15  # of the 30 s for which it is good
    first.release()
    second = take(kubernetes, space, "second", "run 2 (c@d)")
    second.release()
    second.release()
    assert spec(kubernetes, space, "second")["leaseTransitions"] == 1


def test_a_lease_is_renewed_while_it_is_held(kubernetes: Api, space: str) -> None:
    lease = take(kubernetes, space, "renewed", "run 1", seconds=12, every=0.5)
    before = spec(kubernetes, space, "renewed")["renewTime"]
    until(lambda: spec(kubernetes, space, "renewed")["renewTime"] != before)
    assert not lease.lost
    with pytest.raises(Refused, match="in use by run 1"):
        take(kubernetes, space, "renewed", "run 2", wait=print)
    lease.release()


@pytest.mark.parametrize("wait", [False, True])
def test_a_dead_holder_s_lease_is_taken_over_after_its_duration(kubernetes: Api, space: str, wait: bool) -> None:
    name = f"dead-{wait}".lower()
    take(kubernetes, space, name, "run 1", seconds=6, every=60)
    began = time.monotonic()
    if not wait:
        with pytest.raises(Refused, match="in use by run 1"):
            take(kubernetes, space, name, "run 2")
        time.sleep(6.1)
    second = take(kubernetes, space, name, "run 2", wait=print if wait else None)
    assert 6 <= time.monotonic() - began < 30
    assert spec(kubernetes, space, name)["holderIdentity"] == "run 2"
    second.release()


def test_of_two_who_take_over_at_once_one_is_refused(kubernetes: Api, space: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    take(kubernetes, space, "race", "run 0", seconds=1, every=60)
    time.sleep(1.1)

    def attempt(name: str) -> str:
        try:
            take(kubernetes, space, "race", name)
        except Refused as refusal:
            return f"refused: {refusal}"
        return name

    with ThreadPoolExecutor(4) as threads:
        told = sorted(threads.map(attempt, [f"run {n}" for n in range(1, 5)]))
    (winner,) = (one for one in told if not one.startswith("refused"))
    assert all(f"in use by {winner} " in one for one in told if one != winner)


def test_a_clock_that_is_hours_off_takes_no_live_holder_s_lease(kubernetes: Api, space: str) -> None:
    lease = take(kubernetes, space, "clock", "run 1", seconds=12, every=0.5)
    lease._ended.set()  # from here on this test renews it, by a clock that is wrong
    where = path(LEASES, space, "clock")

    def renew(hour: int) -> None:
        kubernetes.patch(where, {"spec": {"renewTime": f"2020-01-01T{hour:02}:00:00.000000Z"}})

    renew(1)
    from threading import Timer

    Timer(1.5, renew, [2]).start()
    with pytest.raises(Refused, match="in use by run 1"):
        take(kubernetes, space, "clock", "run 2")


@pytest.mark.parametrize("how", ["deleted", "taken"])
def test_a_lease_that_is_gone_is_said_to_be_lost(kubernetes: Api, space: str, how: str) -> None:
    lease = take(kubernetes, space, how, "run 1", every=0.2)
    where = path(LEASES, space, how)
    if how == "deleted":
        kubernetes.delete(where)
    else:
        kubernetes.patch(where, {"spec": {"holderIdentity": "run 2 (c@d)"}})
    until(lambda: lease.lost)
    assert ("was deleted" if how == "deleted" else "is held by run 2 (c@d) now") in lease.lost
    lease.release()
    assert how == "deleted" or spec(kubernetes, space, how)["holderIdentity"] == "run 2 (c@d)"


def test_a_lease_is_said_to_be_lost_before_another_may_take_it_though_its_renewal_hangs(
    kubernetes: Api, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, answered = take(kubernetes, space, "hung", "run 1", seconds=8, every=0.2), Event()

    def hang(*_: object) -> None:
        answered.wait(60)
        raise Unavailable("Read timed out")

    monkeypatch.setattr(lease, "_api", SimpleNamespace(put=hang))
    began = time.monotonic()
    until(lambda: lease.lost, 8)
    assert time.monotonic() - began < 7
    assert "could not be renewed" in lease.lost
    answered.set()
    lease.release()
    assert spec(kubernetes, space, "hung")["holderIdentity"] == "run 1"  # which ends by itself


def test_what_it_took_to_get_a_lease_is_not_added_to_its_duration(
    kubernetes: Api, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever else is waiting saw it before we were told."""
    real = Api.post

    def late(*asked: Any) -> Any:
        made = real(*asked)
        time.sleep(2)
        return made

    monkeypatch.setattr(Api, "post", late)
    began = time.monotonic()
    lease = take(kubernetes, space, "late", "run 1", seconds=9, every=60)
    until(lambda: lease.lost, 8)
    assert time.monotonic() - began < 5.9  # of 9, with the margin of 5
    lease.release()


def test_a_namespace_that_is_not_there_refuses_the_run(system: Paused) -> None:
    system.namespace = "t-nowhere"
    answer = system.call("run", str(system.experiment()), "-e", str(system.environment()), "-q")
    assert answer.returncode == 4
    assert 'namespaces "t-nowhere" not found; create it (kubectl create namespace t-nowhere)' in answer.stderr


# --- whole runs ----------------------------------------------------------------------------------------------------


def test_a_second_runner_is_refused_until_the_first_has_ended(system: Paused) -> None:
    run = system.struck()
    held = system.lease()
    assert f"@{os.uname().nodename}" in held["holderIdentity"]
    assert held["leaseDurationSeconds"] == 30
    system.name += "-elsewhere"  # another machine has not the same lock file
    answer = system.call("run", str(system.experiment()), "-e", str(system.environment("other")), "-q", runs="other")
    assert answer.returncode == 4
    assert f"in use by {held['holderIdentity']} until" in answer.stderr
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 5
    assert system.holder() == ""
    assert not system.stopped


def test_a_lease_lost_in_the_middle_of_a_run_aborts_and_reverts_it(system: Paused) -> None:
    run = system.struck()
    where = path(LEASES, system.namespace, "veloz-chaos")
    system.api.patch(where, {"spec": {"holderIdentity": "somebody else"}})
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 5, output + errors
    assert "is held by somebody else now" in output
    assert not system.stopped
    assert system.holder() == "somebody else"


def test_the_guardian_of_a_dead_runner_frees_its_lease_when_all_is_out(system: Paused) -> None:
    run = system.struck()
    run.kill()
    run.communicate()
    until(lambda: not system.stopped, 40)  # its fault would last for 60 s
    until(lambda: system.holder() == "", 60)
