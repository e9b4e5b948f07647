"""Helper containers, from the runner's side: started beside a target, spoken to by lines, ended by label.

A helper lives as long as somebody holds its stdin: when this process dies, however it dies, the daemon closes it. One
thread does all reading and writing of a helper's connection, since a TLS connection bears no more; callers wait.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from veloz_chaos import errors
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import docker_api, helper_image
from veloz_chaos.mechanisms.docker_api import SIGN, TARGET, Place, asking

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Seconds until it must be ready, until it must answer a call (unless the caller says more), until it must have ended.
READY, PATIENCE, ENDING = 20.0, 10.0, 5
#: The least that works: other mount namespaces and control groups (SYS_ADMIN), other users' processes (KILL,
#: SYS_PTRACE), their files (DAC_*), the network (NET_*).
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "KILL", "DAC_OVERRIDE", "DAC_READ_SEARCH", "NET_ADMIN", "NET_RAW")
#: Where the engine may grant it: that the kernel spares us when memory is short, and takes the target instead.
SPARED, SPARED_SCORE = "SYS_RESOURCE", -900
#: What an engine that may not (rootless, or itself confined) says at the start of such a container.
CONFINED = re.compile(r"apply caps|oom_score_adj|final child's PID|not permitted")
MEMORY = 256 << 20
_ERRORS = {name: getattr(errors, name) for name in ("TargetError", "Gone", "Unavailable", "Missing")}
#: Of the stream that is stderr; and of the last line, by which a helper tells that its target has ended.
STDERR, EPILOGUE = 2, -1
#: The sign of a helper that looks and hurts nothing: any process's, and this one's.
LOOKS = "vc-look-"
LOOK = f"{LOOKS}{os.getpid()}"
#: So long may another process's helper take to end, when its runner has just ended, before it is in the way; and so
#: long may the daemon take to make one that was asked for by somebody who died meanwhile. Seconds.
GOING, MAKING = 6.0, 1.5
_HEAD = struct.Struct(">BxxxL")  # of a piece of the stream: 1 stdout, 2 stderr; length


class Ended(Unavailable):
    """A helper that is no longer there; what it held it has undone."""


@dataclass(frozen=True)
class Beside:
    """One incarnation of a target container: `started` is its State.StartedAt."""

    place: Place
    target: str
    started: str

    @property
    def api(self) -> APIClient:
        return docker_api.client(self.place)

    def state(self) -> dict[str, Any]:
        """What the Engine says of this very incarnation. Raises Gone, with the story, if it is over."""
        found = docker_api.inspect(self.api, self.target)
        state = found["State"]
        runs = state["Running"] and not state["Restarting"]  # the engine calls what waits to be restarted both
        if state["StartedAt"] != self.started or not runs:
            raise Gone(docker_api.story(self.api, found, self.started))
        return found

    def over(self) -> Gone | None:
        """Why it is over, once the kernel has said so: the Engine hears of it a little later. None if it does not."""
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline:
            try:
                self.state()
            except Gone as error:
                return error
            time.sleep(0.02)
        return None


class Helper:
    """One container, beside one target, for one sign."""

    def __init__(self, api: APIClient, container: str, name: str, sign: str, connection: Any) -> None:
        self.api, self.container, self.name, self.sign = api, container, name, sign
        #: What it said when it was ready, and at the end of its target; nothing yet, if nothing was said.
        self.about, self.epilogue = dict[str, Any](), dict[str, Any]()
        self._socket = getattr(connection, "_sock", connection)
        self._kept = connection  # its response must not be collected
        self._numbers, self._waiting = itertools.count(1), dict[int, Future[Any]]()
        self._out: deque[bytes] = deque()
        self._stream, self._line, self._complaint = b"", b"", b""
        self._woken, self._wake = os.pipe()
        self._lock, self._ended = threading.Lock(), False

    @classmethod
    def start(cls, beside: Beside, sign: str, name: str | None = None) -> Helper:
        """Ready to be called when it returns. Raises Gone if that incarnation is over, Unavailable."""
        spared = beside.place not in _CONFINED
        try:
            return cls._start(beside, sign, name, spared)
        except TargetError as error:
            if not spared or not CONFINED.search(str(error)):
                raise
        _CONFINED.add(beside.place)
        return cls._start(beside, sign, name, spared=False)

    @classmethod
    def _start(cls, beside: Beside, sign: str, name: str | None, spared: bool) -> Helper:
        api, target = beside.api, beside.state()
        name = name or f"veloz-chaos-{sign.removeprefix('vc-')[:24]}-{secrets.token_hex(3)}"
        container = _create(api, helper_image.ensure(beside.place), target, sign, name, spared)
        try:
            with asking(api):
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                helper = cls(api, container, name, sign, api.attach_socket(container, params=streams))
                api.start(container)
            helper._begin()
            beside.state()  # the process that it found is this incarnation's, and not a successor's
        except TargetError:
            remove(api, container)
            beside.state()
            raise
        return helper

    @property
    def ended(self) -> bool:
        return self._ended

    def call(self, call: str, *, patience: float = PATIENCE, **arguments: Any) -> Any:
        """What it answers. Raises what it raised; Unavailable if it does not answer in time, Ended if it is gone."""
        number, answer = next(self._numbers), Future[Any]()
        line = json.dumps({"id": number, "call": call, "arguments": arguments}).encode() + b"\n"
        with self._lock:
            if self._ended:
                raise self._over()
            self._waiting[number] = answer
            self._out.append(line)
            os.write(self._wake, b"!")
        return self._await(answer, patience)

    def stop(self) -> None:
        """It undoes everything, and has ended when this returns."""
        end_one(self.api, self.container)

    def _begin(self) -> None:
        ready = self._waiting[0] = Future[Any]()
        threading.Thread(target=self._serve, name=self.name, daemon=True).start()
        self.about = self._await(ready, READY)

    def _await(self, answer: Future[Any], patience: float) -> Any:
        try:
            return answer.result(patience)
        except Late:
            raise Unavailable(f"the helper {self.name} has not answered within {patience:g} s") from None

    def _serve(self) -> None:
        """The one thread that reads and writes."""
        poll = select.poll()
        for file in (self._socket.fileno(), self._woken):
            poll.register(file, select.POLLIN)
        with suppress(OSError):
            self._socket.settimeout(PATIENCE)
            while self._step(poll):
                pass
        with self._lock:
            self._ended, waiting = True, list(self._waiting.values())
            self._waiting.clear()
            os.close(self._woken)
            os.close(self._wake)
        for answer in waiting:
            answer.set_exception(self._over())
        with suppress(OSError):
            self._socket.close()

    def _step(self, poll: select.poll) -> bool:
        """False at the end of the stream, or when its last line has come: what is asked now is not answered any more.

        TLS may hold what the kernel no longer has.
        """
        pending = getattr(self._socket, "pending", lambda: 0)()
        ready = {file for file, _ in poll.poll(0 if pending else None)}
        if self._woken in ready:
            os.read(self._woken, 4096)
        while self._out:
            self._socket.sendall(self._out.popleft())
        if not pending and not ready - {self._woken}:
            return True
        piece = self._socket.recv(65536)
        self._stream += piece
        self._split()
        return bool(piece) and not self.epilogue

    def _split(self) -> None:
        """The stream comes in pieces of stdout and of stderr, whose ends are nobody's lines."""
        while len(self._stream) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._stream)
            if len(self._stream) < _HEAD.size + length:
                return
            body, self._stream = self._stream[_HEAD.size :][:length], self._stream[_HEAD.size + length :]
            if kind == STDERR:
                self._complaint = (self._complaint + body)[-4000:]
            else:
                *lines, self._line = (self._line + body).split(b"\n")
                for line in lines:
                    self._told(json.loads(line))

    def _told(self, said: dict[str, Any]) -> None:
        if said["id"] == EPILOGUE:
            self.epilogue = said["value"]
        with self._lock:
            answer = self._waiting.pop(said["id"], None)
        if answer is None:  # nobody waits any more
            return
        if "error" in said:
            answer.set_exception(_ERRORS.get(said["error"], TargetError)(said["text"]))
        else:
            answer.set_result(said["value"])

    def _over(self) -> Ended:
        words = self._complaint.decode(errors="replace").strip().splitlines()
        return Ended(f"the helper {self.name} has ended" + (f": {words[-1]}" if words else ""))


def _create(api: APIClient, image: str, target: dict[str, Any], sign: str, name: str, spared: bool) -> str:
    """The container's id; it does not run yet."""
    from docker.types import LogConfig

    with asking(api):
        host = api.create_host_config(
            auto_remove=True,
            pid_mode="host",
            network_mode=f"container:{target['Id']}",
            cap_drop=["ALL"],
            cap_add=[*CAPABILITIES, *([SPARED] if spared else [])],
            security_opt=["apparmor=unconfined", "label=disable"],
            cgroupns="host",
            binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
            mem_limit=MEMORY,
            oom_score_adj=SPARED_SCORE if spared else 0,
            log_config=LogConfig(type="none"),
        )
    try:
        with asking(api):
            made = api.create_container(
                image, [sign, str(target["State"]["Pid"])], name=name, host_config=host, stdin_open=True,
                labels={SIGN: sign, TARGET: target["Id"]},
            )  # fmt: skip
    except TargetError as error:
        if "already in use" not in str(error):
            raise
        raise TargetError(f"a container named {name} is there, and is somebody else's; rename it") from error
    return str(made["Id"])


# --- those that this process has started ---------------------------------------------------------------------------

_HELPERS: dict[tuple[Beside, str], Helper] = {}
_LOCKS: dict[tuple[Beside, str], threading.Lock] = {}
_GUARD = threading.Lock()
#: The engines that may not spare us, as we have found.
_CONFINED: set[Place] = set()


def obtain(beside: Beside, sign: str) -> Helper:
    """The helper of this process for that target and sign, started if there is none (any more). Raises Gone."""
    key = (beside, sign)
    with _GUARD:
        lock = _LOCKS.setdefault(key, threading.Lock())
    with lock:
        helper = _HELPERS.get(key)
        if helper is not None and helper.epilogue and (gone := beside.over()):
            raise gone
        if helper is None or helper.ended:
            helper = _HELPERS[key] = Helper.start(beside, sign)
        return helper


def own(beside: Beside, sign: str | None = None) -> list[Helper]:
    """The helpers that this process has started beside that target, of one sign or of all; some may have ended."""
    return [helper for (place, of), helper in list(_HELPERS.items()) if place == beside and sign in (None, of)]


def call(beside: Beside, sign: str, call: str, *, patience: float = PATIENCE, **arguments: Any) -> Any:
    """Through this process's helper; through another one if the first has just ended for want of work.

    Raises Gone, with the story, if the target is what has ended.
    """
    for last in (False, True):
        helper = obtain(beside, sign)
        try:
            return helper.call(call, patience=patience, **arguments)
        except Ended:
            if helper.epilogue and (gone := beside.over()):
                raise gone from None
            if last:
                raise
    raise AssertionError("unreachable")


# --- those of anybody ----------------------------------------------------------------------------------------------


def find(api: APIClient, sign: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
    """The helper containers, as the Engine lists them, of whoever started them."""
    labels = [f"{SIGN}={sign}" if sign else SIGN, *([f"{TARGET}={target}"] if target else [])]
    with asking(api):
        return list(api.containers(all=True, filters={"label": labels}))


def of_others(beside: Beside) -> list[dict[str, Any]]:
    """Helpers beside a target that other processes have started; such as only look are in nobody's way."""
    deadline = time.monotonic() + GOING
    while True:
        ours = {helper.container for helper in own(beside)}
        found = [one for one in find(beside.api, target=beside.target) if one["Id"] not in ours]
        found = [one for one in found if not one["Labels"][SIGN].startswith(LOOKS)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def end(api: APIClient, sign: str, target: str | None = None, spare: Collection[str] = ()) -> None:
    """All helpers of a sign but some: each undoes what it holds, and is gone when this returns."""
    for one in find(api, sign, target):
        if one["Id"] not in spare:
            end_one(api, one["Id"])


def withdraw(beside: Beside, sign: str) -> None:
    """Those that were about to start when their runner was killed: the daemon may be making one yet."""
    deadline = time.monotonic() + MAKING
    while time.monotonic() < deadline:
        end(beside.api, sign, beside.target)
        time.sleep(0.1)


def relieve(beside: Beside, sign: str) -> None:
    """Nothing of what helpers of that sign hold beside a target is left when this returns, whoever started them."""
    mine = [helper for helper in own(beside, sign) if not helper.ended]
    for helper in mine:
        with suppress(Ended):
            helper.call("relieve")
    end(beside.api, sign, beside.target, {helper.container for helper in mine})


def end_one(api: APIClient, container: str) -> None:
    """TERM, so that it undoes what it holds; by force if it does not end. Raises Unavailable if it stays even so."""
    try:
        with asking(api):
            api.kill(container, "SIGTERM")
        with suppress(Unavailable), asking(api):
            api.wait(container, timeout=ENDING)
    except Gone:
        return
    except TargetError:  # it does not run
        pass
    remove(api, container)


def remove(api: APIClient, container: str) -> None:
    """By force; nothing to do if it is gone or going. What dies at this very moment the engine cannot kill: again."""
    from docker.errors import APIError

    deadline = time.monotonic() + ENDING
    while True:
        with asking(api):
            try:
                api.remove_container(container, force=True)
                return
            except APIError as error:
                if error.response is not None and error.response.status_code in (404, 409):
                    return
                if "is not running" not in str(error) or time.monotonic() > deadline:
                    raise
        time.sleep(0.05)
