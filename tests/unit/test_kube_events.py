"""What a watch tells while it begins is heard in its order, whichever thread is slow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from veloz_chaos.mechanisms import kube_events

PAUSE = 0.3
Hear = Callable[[str, dict[str, Any]], None]


class Beside:
    api, namespace = None, "n"


def test_what_changes_as_it_begins_is_heard_before_what_changes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    told, one_heard, going = list[str](), threading.Event(), threading.Event()
    other = threading.Event()

    class Incarnation:
        def __init__(self, *_: Any) -> None:
            one_heard.wait(PAUSE)

        def heard(self, kind: str, _: Any) -> None:
            if kind == "MODIFIED":
                going.set()
                other.wait(PAUSE)  # so slow
            told.append(kind)
            other.set()

    class Watch:
        def __init__(self, _api: Any, _where: str, _query: Any, hear: Hear) -> None:
            self.hear = hear

        def start(self) -> list[Any]:
            threads.append(threading.Thread(target=self.follow))
            threads[0].start()
            return []

        def follow(self) -> None:
            self.hear("MODIFIED", {})
            one_heard.set()
            going.wait(10)
            self.hear("DELETED", {})

        def end(self) -> None:
            pass

    threads: list[threading.Thread] = []
    monkeypatch.setattr(kube_events, "Watch", Watch)
    monkeypatch.setattr(kube_events, "Incarnation", Incarnation)
    kube_events.watch(Beside(), print)  # type: ignore[arg-type]
    threads[0].join(20)
    assert told == ["MODIFIED", "DELETED"]
