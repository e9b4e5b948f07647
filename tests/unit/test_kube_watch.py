"""What is told of objects after a watch has grown too old, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from veloz_chaos.mechanisms.kube_api import Api, Listed
from veloz_chaos.mechanisms.kube_watch import Watch


def thing(uid: str, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def test_what_is_new_is_told_after_what_it_may_be_there_for() -> None:
    """A successor's name may come before its victim's in a list."""
    told: list[tuple[str, str]] = []
    listed = Listed([thing("new"), thing("changed", "2"), thing("same")], "3")
    api = cast(Api, SimpleNamespace(listed=lambda *_, **__: listed))
    watch = Watch(api, "/pods", {}, lambda kind, one: told.append((kind, one["metadata"]["uid"])))
    watch._known = {uid: thing(uid) for uid in ("changed", "same", "gone")}
    watch._compare()
    assert told == [("DELETED", "gone"), ("MODIFIED", "changed"), ("ADDED", "new")]
