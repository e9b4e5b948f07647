"""A container that has ended says nothing of a file, whoever knows it first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms.kube_file import Files, Inside


def inside(*, ended: bool, alive: bool) -> Inside:
    """Beside a container that the kernel says has ended, or not, and that is `alive` by the platform's word."""

    def absent(*_: object, **__: object) -> None:
        raise Gone("missing")

    made = Inside(Files("n", "h", pod="p"), "/a")
    helper = SimpleNamespace(saw_the_end=ended)
    beside: Any = SimpleNamespace(state=dict, call=absent, alive=lambda: alive, own=lambda _: [helper])
    made._beside = beside
    return made


def test_a_file_that_is_not_there_is_missing() -> None:
    with pytest.raises(Gone, match="missing"):
        inside(ended=False, alive=True).look()


@pytest.mark.parametrize(("ended", "alive"), [(True, True), (True, False), (False, False)])
def test_one_of_a_container_that_has_ended_is_looked_for_in_the_next(
    monkeypatch: pytest.MonkeyPatch, ended: bool, alive: bool
) -> None:
    def absent(_: Inside) -> None:
        raise Gone("container app of pod p has been started again")

    monkeypatch.setattr(Inside, "find", absent)
    with pytest.raises(Unavailable, match="started again"):
        inside(ended=ended, alive=alive).look()
