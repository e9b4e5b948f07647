"""The cluster that an environment's runs are known to: how it is written, and what of it is pure."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.cli_runs import Paper, events
from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Reference
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.core.environment import Environment
from veloz_chaos.engine import journal, mirror
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.mirror import Mirror, _seen_from_here, label
from veloz_chaos.errors import Refused


def cluster(**parts: Any) -> Cluster:
    return Cluster.model_validate({"lease": {"namespace": "chaos"}, **parts})


def test_a_lease_has_a_name_if_none_is_given() -> None:
    written = {"kind": "Environment", "version": 1, "name": "a", "tier": "staging"}
    made = Environment.model_validate(written | {"kubernetes": {"lease": {"namespace": "chaos"}}}).kubernetes
    assert made is not None
    assert (made.lease.namespace, made.lease.name, made.mirror) == ("chaos", "veloz-chaos", None)


@pytest.mark.parametrize(
    "wrong", [{}, {"mirror": {"namespace": "chaos"}}, {"lease": {"namespace": "Chaos"}}, {"lease": {"name": "a"}}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Cluster.model_validate(wrong)


@pytest.mark.parametrize(("name", "fits"), [("staging", True), ("a.b_c-d", True), ("a->b", False), ("a" * 64, False)])
def test_an_environment_s_name_becomes_a_label(name: str, fits: bool) -> None:
    assert (label(name) == name) is fits
    assert len(label(name)) <= 63


def prepared(backend: str, **identity: Any) -> ev.FaultPrepared:
    reference = Reference(backend=backend, name="x", identity={"pod": "p", **identity})
    return ev.FaultPrepared(
        fault="f1", kind="pause", arguments={}, reference=reference, receipt={}, held=True, expires=0, at=0, wall=0
    )


@pytest.mark.parametrize(
    ("backend", "identity", "there", "here", "then"),
    [
        ("kubernetes", {}, {}, {"context": "lab"}, {"context": "lab"}),
        ("kubernetes-link", {"context": "a"}, {"context": "a"}, {"kubeconfig": "/k"}, {"kubeconfig": "/k"}),
        ("kubernetes", {"context": "other"}, {"context": "a"}, {"context": "b"}, {"context": "other"}),
        ("docker", {"context": "a"}, {"context": "a"}, {"context": "b"}, {"context": "a"}),
        ("docker", {}, {}, {"context": "b"}, {}),
        ("kubernetes", {"context": "a"}, {"context": "a"}, {}, {}),
    ],
)
def test_the_run_s_own_cluster_is_reached_as_this_machine_reaches_it(
    backend: str, identity: dict[str, Any], there: dict[str, Any], here: dict[str, Any], then: dict[str, Any]
) -> None:
    seen = _seen_from_here(prepared(backend, **identity), cluster(**there), cluster(**here))
    assert isinstance(seen, ev.FaultPrepared)
    assert seen.reference.identity == {"pod": "p", **then}


def test_a_run_is_planned_on_the_cluster_as_this_machine_reaches_it() -> None:
    started = events(Paper())[0]
    assert isinstance(started, ev.RunStarted)
    plan = started.plan.model_copy(update={"cluster": cluster()})
    seen = _seen_from_here(started.model_copy(update={"plan": plan}), cluster(), cluster(context="lab"))
    assert isinstance(seen, ev.RunStarted)
    assert seen.plan.cluster == cluster(context="lab")


def test_half_of_what_was_mirrored_is_never_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full while it is written: the next attempt would find nothing to take out, and forget the rest."""
    started = events(Paper())[0]
    assert isinstance(started, ev.RunStarted)
    there = mirror.Mirrored(cluster(), started, [started, prepared("kubernetes"), prepared("docker")])
    real, left = Journal.append, [0, 0]

    def append(self: Journal, event: ev.Event, *, sync: bool = False) -> None:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()
        real(self, event, sync=sync)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        with pytest.raises(OSError, match="No space left"):
            there.bring(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
    folder = there.bring(tmp_path / "runs")
    assert folder.parent == tmp_path / "runs"
    assert [one.event for one in journal.read(folder)] == ["run-started", "fault-prepared", "fault-prepared"]
    assert there.bring(tmp_path / "runs") == folder


def test_what_is_too_large_for_a_config_map_is_not_injected() -> None:
    made = Mirror(cluster(mirror={"namespace": "chaos"}), "1a2b", "staging")
    made.note(prepared("kubernetes", much="x" * mirror.ROOM))
    with pytest.raises(Refused, match="larger than a ConfigMap"):
        made.flush()


def test_a_mirror_that_was_never_written_has_nothing_to_remove() -> None:
    made = Mirror(cluster(mirror={"namespace": "chaos"}), "1a2b", "staging")
    made.note(ev.RunEnded(cause="refused", by="runner", at=0, wall=0))
    assert made.close() == ""
