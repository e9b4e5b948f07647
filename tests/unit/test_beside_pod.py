"""A helper that vanishes, and a stream to it that breaks, say nothing of the target."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from websocket import WebSocketConnectionClosedException

from veloz_chaos.core.capability import Reference
from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms import kube_api, kube_stream
from veloz_chaos.mechanisms.beside import Ended, Helper
from veloz_chaos.mechanisms.helper_pod import OnNode
from veloz_chaos.mechanisms.kube_api import Listed, Place
from veloz_chaos.targets import kubernetes

TARGET: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "then"},
    "status": {
        "phase": "Running",
        "containerStatuses": [{"name": "app", "containerID": "containerd://c1", "state": {"running": {}}}],
    },
}


class Server:
    """The target's pod; and whatever is asked for in `h` is gone again at once, or is `helper`."""

    def __init__(self, helper: Mapping[str, Any] | None = None) -> None:
        self.helper = helper

    def get(self, where: str) -> Mapping[str, Any]:
        if "/namespaces/h/" not in where:
            return TARGET
        if self.helper is None:
            raise Gone('pods "veloz-chaos-…" not found')
        return self.helper

    def post(self, *_: object) -> None: ...

    def delete(self, *_: object) -> None:
        raise Gone("it is gone already")

    def listed(self, *_: object, **__: object) -> Listed:
        return Listed([], "1")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> OnNode:
    monkeypatch.setattr(kube_api, "client", lambda _: Server())
    return OnNode(Place(), "n", "p", "u", "app", "c1", "node", "image:1", helpers="h")


@pytest.mark.parametrize(
    "finished", [None, {"metadata": {"deletionTimestamp": "now"}, "status": {"phase": "Succeeded"}}]
)
def test_a_helper_that_somebody_took_away_is_not_the_target_s_end(
    place: OnNode, monkeypatch: pytest.MonkeyPatch, finished: Mapping[str, Any] | None
) -> None:
    monkeypatch.setattr(kube_api, "client", lambda _: Server(finished))
    with pytest.raises(Unavailable, match=r"somebody has deleted the helper pod .* before it was ready"):
        place.start("vc-1")


def test_a_helper_that_finds_nobody_is_believed(place: OnNode, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = {"metadata": {}, "status": {"phase": "Succeeded"}}
    monkeypatch.setattr(kube_api, "client", lambda _: Server(finished))
    with pytest.raises(Gone, match="no process of container c1 runs on node any more"):
        place.start("vc-1")


def test_one_that_is_gone_when_we_attach_neither(place: OnNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise Gone('pods "veloz-chaos-…" not found')

    monkeypatch.setattr(OnNode, "_runs", lambda *_: True)
    monkeypatch.setattr(OnNode, "_attach", absent)
    with pytest.raises(Unavailable, match=r'can\'t be spoken to: pods "veloz-chaos-…" not found'):
        place.start("vc-1")


@pytest.mark.usefixtures("place")
def test_a_process_is_not_gone_because_its_helper_is() -> None:
    identity = {
        "namespace": "n", "pod": "p", "uid": "u", "container": "app", "id": "c1", "node": "node", "helpers": "h",
        "process": "x", "pid": 2, "start": 3, "boot_id": "b",
    }  # fmt: skip
    with pytest.raises(Unavailable):  # it may be stopped: nobody may say that there is nothing to undo
        kubernetes.reopen(Reference(backend="kubernetes", name="x", identity=identity))


def test_a_stream_that_breaks_while_something_is_sent_ends_its_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        """As a TLS connection whose other end is gone, of which nothing was heard yet."""

        def __init__(self) -> None:
            self.ends = threading.Event()
            self.sock = self

        def settimeout(self, _: float) -> None: ...

        def fileno(self) -> int:
            return reading

        def close(self, timeout: int) -> None: ...

        def send_binary(self, _: bytes) -> None:
            raise WebSocketConnectionClosedException("socket is already closed.")

    reading, writing = os.pipe()
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    helper = Helper("h", "h", "vc-1", kube_stream.Stream(Socket()))
    threading.Thread(target=helper._serve, daemon=True).start()
    with pytest.raises(Ended):
        helper.call("held", patience=2)
    assert helper.ended
    os.close(reading)
    os.close(writing)


def test_a_stream_that_breaks_at_once_takes_its_helper_away(place: OnNode, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def send(self, _: bytes) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    stopped: list[str] = []
    monkeypatch.setattr(OnNode, "_runs", lambda *_: True)
    monkeypatch.setattr(OnNode, "_attach", lambda *_: Broken())
    monkeypatch.setattr(OnNode, "stop", lambda _, name: stopped.append(name))
    with pytest.raises(Unavailable, match="Broken pipe"):
        place.start("vc-1")
    assert len(stopped) == 1
