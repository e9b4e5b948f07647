"""What an engine says of helpers that are about to go, or have gone."""

from __future__ import annotations

import pytest

from tests.infra.answers import Answer, answering
from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms import docker_api, helper_container, helper_image
from veloz_chaos.mechanisms.docker_api import Place

VERSION = {"/version": Answer({"ApiVersion": "1.41"})}
GOING = Answer({"message": "removal of container one is already in progress"}, 409)
DYING = Answer({"message": "cannot kill container: one: Container one is not running"}, 500)
GONE = Answer({"message": "No such container: one"}, 404)


def listed(container: str, state: str) -> dict[str, object]:
    return {"Id": container, "Names": [], "State": state, "Status": state, "Labels": {docker_api.SIGN: "vc-a"}}


def test_what_the_engine_lists_but_has_removed_is_no_helper() -> None:
    listing = [listed("lasting", "dead"), listed("gone", "dead"), listed("new", "created"), listed("busy", "running")]
    answers = {
        **VERSION,
        "/v1.41/containers/json": Answer(listing),
        "/v1.41/containers/lasting/json": Answer({"Id": "lasting"}),
        "/v1.41/containers/gone/json": GONE,
        "/v1.41/containers/new/json": Answer({"Id": "new"}),
    }
    with answering(answers) as engine:
        found = helper_container.find(docker_api.client(Place(engine.url)))
    assert [one["Id"] for one in found] == ["lasting", "new", "busy"]


def test_it_is_gone_when_remove_returns() -> None:
    with answering({**VERSION, "/v1.41/containers/one": [GOING, DYING, GOING, GONE]}) as engine:
        helper_container.remove(docker_api.client(Place(engine.url)), "one")
    assert [one.path.partition("?")[0] for one in engine.asked[1:]] == ["/v1.41/containers/one"] * 4


def test_what_stays_although_it_is_removed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_container, "ENDING", 0.1)
    with answering({**VERSION, "/v1.41/containers/one": GOING}) as engine, pytest.raises(TargetError, match="progress"):
        helper_container.remove(docker_api.client(Place(engine.url)), "one")


TARGET = {"Id": "target", "Name": "/target", "State": {"StartedAt": "then", "Running": True, "Pid": 7}}


def starting(made: Answer, **more: Answer) -> dict[str, Answer | list[Answer]]:
    """What an engine answers to whoever starts the helper `one` beside the container `target`."""
    return {
        **VERSION,
        "/v1.41/containers/target/json": Answer(TARGET),
        "/v1.41/images/helper:1/json": Answer({}),
        "/v1.41/containers/create": made,
        **{f"/v1.41/containers/one{key}": answer for key, answer in more.items()},
    }


def test_a_helper_that_somebody_removes_is_not_the_end_of_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker container prune` does with what has not been started yet."""
    monkeypatch.setenv(helper_image.NAMED, "helper:1")
    answers = starting(Answer({"Id": "one"}, 201), **{"/attach": GONE, "": GONE})
    with answering(answers) as engine, pytest.raises(Unavailable, match="somebody has removed the helper"):
        helper_container.Beside(Place(engine.url), "target", "then").start("vc-a")


def test_a_helper_that_was_made_though_nobody_said_so_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(helper_image.NAMED, "helper:1")
    answers = starting(Answer({"message": "context deadline exceeded"}, 500), **{"": GONE})
    with answering(answers) as engine, pytest.raises(Unavailable, match="deadline"):
        helper_container.Beside(Place(engine.url), "target", "then").start("vc-a", "one")
    assert engine.asked[-1].path.startswith("/v1.41/containers/one?")
