"""Who died, and of what, from what a Docker Engine and a cluster say; and whose CPU a container's limit is."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import watcher
from veloz_chaos.sandbox.deaths import Deaths, Incarnation, reason
from veloz_chaos.sandbox.kubernetes import NAME
from veloz_chaos.sandbox.service_metrics import REASONS, Told

FIRST = Incarnation("engine", "first", runs=True, serves=True)
DEAD = replace(FIRST, runs=False, serves=False, ended="killed")
NEXT = Incarnation("engine", "next", runs=True, serves=False)


def seen(*looks: Iterable[Incarnation]) -> Told:
    deaths = Deaths()
    for look in looks:
        deaths.saw(list(look))
    (told,) = deaths.told
    return told


def test_what_runs_at_first_has_not_died() -> None:
    assert seen([FIRST]) == seen([FIRST], [FIRST]) == Told("engine", True, 0, "", {})


def test_what_is_dead_at_first_did_not_die_before_our_eyes() -> None:
    assert seen([DEAD]) == Told("engine", False, 0, "", {})


def test_a_death_is_counted_once_and_is_over_when_another_serves() -> None:
    assert seen([FIRST], [DEAD], [DEAD]) == Told("engine", False, 0, "killed", {"killed": 1})
    assert seen([FIRST], [DEAD], [NEXT]) == Told("engine", False, 1, "killed", {"killed": 1})
    assert seen([FIRST], [DEAD], [replace(NEXT, serves=True)]) == Told("engine", True, 1, "", {"killed": 1})


def test_of_what_it_died_is_told_by_itself_or_the_one_in_its_place() -> None:
    oom = {"oom-killed": 1}
    assert seen([FIRST], [replace(DEAD, ended="oom-killed")]).deaths == oom
    assert seen([FIRST], [replace(NEXT, ended="oom-killed")]).deaths == oom
    assert seen([FIRST], [replace(NEXT, ended="exited"), replace(DEAD, ended="oom-killed")]).deaths == oom
    assert seen([FIRST], [NEXT]).deaths == {"killed": 1}


def test_what_was_told_of_it_while_it_ran_is_of_what_it_died() -> None:
    """Newer engines forget a kill for memory at the next start, which may come before our look."""
    killing = replace(FIRST, serves=False, ended="oom-killed")
    assert seen([FIRST], [killing], [NEXT]).deaths == {"oom-killed": 1}
    assert seen([FIRST], [killing], [replace(DEAD, ended="exited")]).deaths == {"exited": 1}


def test_what_the_one_before_died_of_is_not_its_own_death() -> None:
    """Older engines remember a kill for memory all through the next start."""
    again = replace(NEXT, ended="oom-killed")
    assert seen([FIRST], [again], [again], [replace(NEXT, name="third")]).deaths == {"oom-killed": 1, "killed": 1}


def test_what_was_removed_is_dead_and_not_forgotten() -> None:
    assert seen([FIRST], []) == seen([FIRST], [], []) == Told("engine", False, 0, "killed", {"killed": 1})


def test_of_two_the_death_of_one_is_counted_and_nobody_is_gone() -> None:
    assert seen([FIRST, replace(NEXT, serves=True)], [replace(NEXT, serves=True)]) == Told(
        "engine", True, 1, "", {"killed": 1}
    )


def test_what_one_died_of_before_says_nothing_of_the_other_one() -> None:
    before = Incarnation("engine", "before", runs=False, serves=False, ended="oom-killed")
    other = Incarnation("engine", "other", runs=True, serves=True)
    assert seen([before, FIRST, other], [before, other]).deaths == {"killed": 1}


def test_a_platform_that_is_late_is_asked_again_and_not_for_ever() -> None:
    class Late:
        looks = 0

        def events(self) -> Any:
            return io.BytesIO(b"")

        def look(self) -> list[Incarnation]:
            self.looks += 1
            if self.looks == 3:
                return [FIRST]
            raise TimeoutError

    late, deaths = Late(), Deaths()
    with pytest.raises(TimeoutError):
        watcher.follow(late, deaths)  # type: ignore[arg-type]
    assert late.looks == 3 + watcher.LATE + 1
    assert [one.name for one in deaths.told] == ["engine"]


def test_how_it_ended() -> None:
    assert [reason(137, True), reason(137, False), reason(143, False), reason(3, False)] == [
        "oom-killed", "killed", "killed", "exited"
    ]  # fmt: skip


_ANY = [
    Incarnation(*fields)
    for fields in product(("engine", "gateway"), "abcd", (False, True), (False, True), ("", *REASONS))
]


@given(st.lists(st.lists(st.sampled_from(_ANY), max_size=4, unique_by=lambda one: one.name), max_size=8))
def test_whatever_is_seen_counts_never_fall_and_who_serves_is_not_gone(looks: list[list[Incarnation]]) -> None:
    deaths = Deaths()
    before: dict[str, Told] = {}
    for look in looks:
        deaths.saw(look)
        told = {one.name: one for one in deaths.told}
        assert before.keys() <= told.keys()
        for name, one in told.items():
            assert not (one.up and one.gone)
            assert set(one.deaths) <= set(REASONS)
            assert one.restarts >= (before[name].restarts if name in before else 0)
            assert all(one.deaths[why] >= n for why, n in (before[name].deaths if name in before else {}).items())
        before = told


# --- Docker ---------------------------------------------------------------------------------------------------------


def container(**state: Any) -> dict[str, Any]:
    whole = {"Running": True, "OOMKilled": False, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00.5Z", **state}
    return {"Id": "ab12", "State": whole, "Config": {"Labels": {"com.docker.compose.service": "gateway"}}}


@pytest.mark.parametrize(
    ("state", "runs", "serves", "ended"),
    [
        ({}, True, True, ""),
        ({"Health": {"Status": "healthy"}}, True, True, ""),
        ({"Health": {"Status": "starting"}}, True, False, ""),
        ({"Health": {"Status": "unhealthy"}}, True, False, ""),
        ({"Running": False, "ExitCode": 137}, False, False, "killed"),
        ({"Running": False, "ExitCode": 1}, False, False, "exited"),
        ({"Running": False, "ExitCode": 137, "OOMKilled": True}, False, False, "oom-killed"),
        ({"Restarting": True, "ExitCode": 137, "OOMKilled": True}, False, False, "oom-killed"),
        ({"Restarting": True, "ExitCode": 1}, False, False, "exited"),
        ({"OOMKilled": True, "Health": {"Status": "starting"}}, True, False, "oom-killed"),
    ],
)
def test_what_docker_says_of_a_container(state: dict[str, Any], runs: bool, serves: bool, ended: str) -> None:
    found = watcher.of_container(container(**state))
    assert found == Incarnation("gateway", "ab12 2026-01-01T00:00:00.5Z", runs, serves, ended)


GROUPS = {
    "1": "5:memory:/docker/ab12\n3:cpuacct,cpu:/docker/ab12\n0::/\n",
    "2": "5:memory:/helpers\n3:cpu:/docker/ab12\n",
    "3": "5:memory:/docker/ab12\n3:cpu:/elsewhere\n",
    "4": "0::/system.slice/docker-ab12.scope\n",
    "5": "0::/../ab12\n",
    "6": "0::/system.slice\n",
    "7": "",
}


def test_whoever_is_in_its_group_for_the_cpu_is_limited_with_it(tmp_path: Path) -> None:
    """In either version of control groups, as they look from within another container, too."""
    for pid, text in GROUPS.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(text)
    (tmp_path / "8").mkdir()  # it has just ended
    (tmp_path / "self").mkdir()
    assert sorted(watcher.members("ab12", tmp_path)) == [1, 2, 4, 5]


def test_without_a_socket_it_is_said_where_it_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no socket of a Docker Engine at .*/docker\.sock; mount it there"):
        watcher.of({"VELOZ_DOCKER": str(tmp_path / "docker.sock")})


# --- Kubernetes -------------------------------------------------------------------------------------------------------


def pod(*statuses: dict[str, Any], **meta: Any) -> dict[str, Any]:
    name = {"name": "gateway-1", "labels": {NAME: "gateway"}}
    return {"metadata": {**name, **meta}, "status": {"containerStatuses": list(statuses)}}


def status(state: dict[str, Any], last: dict[str, Any] | None = None, ready: bool = False) -> dict[str, Any]:
    return {"containerID": "containerd://b", "state": state, "lastState": last or {}, "ready": ready}


def terminated(code: int = 137, why: str = "Error", name: str = "containerd://a") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": why, "containerID": name}}


def test_what_a_cluster_says_of_a_pod() -> None:
    running = Incarnation("gateway", "containerd://b", True, True)
    killed = Incarnation("gateway", "containerd://a", False, False, "killed")
    assert list(watcher.of_pod(pod(status({"running": {}}, ready=True)))) == [running]
    assert list(watcher.of_pod(pod(status({"running": {}}, terminated(), True)))) == [running, killed]
    assert list(watcher.of_pod(pod(status(terminated(why="OOMKilled"))))) == [replace(killed, ended="oom-killed")]
    assert list(watcher.of_pod(pod(status({"waiting": {}}, terminated(1))))) == [replace(killed, ended="exited")]


def test_a_pod_that_has_not_begun_is_nothing_yet() -> None:
    assert list(watcher.of_pod({"metadata": {"name": "x"}, "status": {}})) == []
    assert list(watcher.of_pod(pod(status({"waiting": {}})))) == []
    assert list(watcher.of_pod(pod(status(terminated(name=""))))) == []


def test_a_pod_of_no_service_goes_by_its_own_name() -> None:
    (found,) = watcher.of_pod(pod(status({"running": {}}), labels={}))
    assert found.service == "gateway-1"
