"""Helpers beside a target, whatever platform runs them: started, spoken to by lines, ended by their sign.

A helper lives as long as somebody holds its stdin: when this process dies, however it dies, the platform closes it. One
thread does all reading and writing of a helper's connection, since a TLS connection bears no more; callers wait.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from veloz_chaos import errors
from veloz_chaos.core.capability import Reference, Report, Target
from veloz_chaos.errors import Gone, TargetError, Unavailable

#: Seconds until it must be ready, until it must answer a call (unless the caller says more), until it must have ended.
READY, PATIENCE, ENDING = 20.0, 10.0, 5
_ERRORS = {name: getattr(errors, name) for name in ("TargetError", "Gone", "Unavailable", "Missing")}
#: The number of the last line, by which a helper tells that its target has ended.
EPILOGUE = -1
#: The sign of a helper that looks and hurts nothing: any process's, and this one's.
LOOKS = "vc-look-"
LOOK = f"{LOOKS}{os.getpid()}"
#: So long may another process's helper take to end, when its runner has just ended, before it is in the way; and so
#: long may the platform take to make one that was asked for by somebody who died meanwhile. Seconds.
GOING, MAKING = 6.0, 1.5


class Ended(Unavailable):
    """A helper that is no longer there; what it held it has undone."""


class Stream(Protocol):
    """Both ways between a helper and us. Raises OSError."""

    def fileno(self) -> int: ...
    def pending(self) -> bool:
        """Is there something to receive that the kernel no longer has?"""

    def send(self, data: bytes) -> None: ...
    def receive(self) -> tuple[bytes, bytes] | None:
        """More of its stdout and of its stderr; None at the end. Blocks if nothing is there."""

    def close(self) -> None: ...


class Helper:
    """One helper, beside one target, for one sign. `identity`: what the platform knows it by."""

    def __init__(self, identity: str, name: str, sign: str, stream: Stream) -> None:
        self.identity, self.name, self.sign = identity, name, sign
        #: What it said when it was ready, and at the end of its target; nothing yet, if nothing was said.
        self.about, self.epilogue = dict[str, Any](), dict[str, Any]()
        self._stream = stream
        self._numbers, self._waiting = itertools.count(1), dict[int, Future[Any]]()
        self._out: deque[bytes] = deque()
        self._line, self._complaint = b"", b""
        self._woken, self._wake = os.pipe()
        self._lock, self._ended = threading.Lock(), False

    def begin(self) -> None:
        """Ready to be called when it returns. Raises TargetError."""
        ready = self._waiting[0] = Future[Any]()
        threading.Thread(target=self._serve, name=self.name, daemon=True).start()
        self.about = self._await(ready, READY)

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def saw_the_end(self) -> bool:
        """Of its target. It may end with it while it is asked; then its last line says so."""
        if not self.epilogue:
            with suppress(Ended):
                return not self.call("alive")
        return bool(self.epilogue)

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

    def _await(self, answer: Future[Any], patience: float) -> Any:
        try:
            return answer.result(patience)
        except Late:
            raise Unavailable(f"the helper {self.name} has not answered within {patience:g} s") from None

    def _serve(self) -> None:
        """The one thread that reads and writes."""
        poll = select.poll()
        for file in (self._stream.fileno(), self._woken):
            poll.register(file, select.POLLIN)
        with suppress(OSError):
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
            self._stream.close()

    def _step(self, poll: select.poll) -> bool:
        """False at the end of the stream, or when its last line has come: what is asked then is not answered."""
        pending = self._stream.pending()
        ready = {file for file, _ in poll.poll(0 if pending else None)}
        if self._woken in ready:
            os.read(self._woken, 4096)
        while self._out:
            self._stream.send(self._out.popleft())
        if not pending and not ready - {self._woken}:
            return True
        pieces = self._stream.receive()
        if pieces is None:
            return False
        said, complained = pieces
        self._complaint = (self._complaint + complained)[-4000:]
        *lines, self._line = (self._line + said).split(b"\n")
        for line in lines:
            self._told(json.loads(line))
        return not self.epilogue

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


@dataclass(frozen=True)
class Found:
    """A helper that the platform lists, whoever started it. `runs`: False if it was made but never started."""

    identity: str
    name: str
    sign: str
    runs: bool = True


class Beside(ABC):
    """The place beside one incarnation of a container; equal to another one for the same. Subclasses are the platforms.

    `over`, `obtain`, `own`, `call`: of this process. `others`, `withdraw`, `relieve`, `end`: of whoever started them.
    """

    #: Does an entry of each helper stay, with its sign, that says how it ended?
    entries: ClassVar[bool] = False

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the platform says of this very incarnation. Raises Gone, with the story, if it is over."""

    @abstractmethod
    def start(self, sign: str) -> Helper:
        """A new helper, ready to be called. Raises Gone if the incarnation is over, Unavailable."""

    @abstractmethod
    def found(self, sign: str | None = None) -> list[Found]:
        """The helpers beside it, of one sign or of all, of whoever started them."""

    @abstractmethod
    def stop(self, identity: str) -> None:
        """That helper undoes what it holds, and is gone when this returns; by force if need be. Safe twice."""

    @abstractmethod
    def ready(self) -> bool:
        """Can a helper be started without building or fetching anything?"""

    @abstractmethod
    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        """As `Target.watch`."""

    @abstractmethod
    def by_hand(self, sign: str) -> str:
        """The command that ends all helpers of a sign."""

    @abstractmethod
    def told(self, one: Found) -> str:
        """What to say of a helper that is in the way, and how to end it."""

    def doubtful(self) -> bool:
        """Is it worth a helper to look for what a killed one may have left?"""
        return self.ready()

    def alive(self) -> bool:
        try:
            self.state()
        except Gone:
            return False
        return True

    def over(self) -> Gone | None:
        """Why it is over, once the kernel has said so: the platform hears of it later. None if it does not say so."""
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline:
            try:
                self.state()
            except Gone as error:
                return error
            time.sleep(0.02)
        return None

    def obtain(self, sign: str) -> Helper:
        """The helper of this process for that sign, started if there is none (any more). Raises Gone."""
        key = (self, sign)
        with _GUARD:
            lock = _LOCKS.setdefault(key, threading.Lock())
        with lock:
            helpers = _HELPERS.setdefault(key, [])
            if helpers and helpers[-1].epilogue and (gone := self.over()):
                raise gone
            if not helpers or helpers[-1].ended:
                helpers.append(self.start(sign))
            return helpers[-1]

    def own(self, sign: str | None = None) -> list[Helper]:
        """The helpers that this process has started, of one sign or of all; some may have ended."""
        started = [many for (place, of), many in list(_HELPERS.items()) if place == self and sign in (None, of)]
        return [helper for many in started for helper in many]

    def call(self, sign: str, call: str, *, patience: float = PATIENCE, **arguments: Any) -> Any:
        """Through this process's helper; through another one if the first has just ended for want of work.

        Raises Gone, with the story, if the target is what has ended.
        """
        for last in (False, True):
            helper = self.obtain(sign)
            try:
                return helper.call(call, patience=patience, **arguments)
            except Ended:
                if helper.epilogue and (gone := self.over()):
                    raise gone from None
                if last:
                    raise
        raise AssertionError("unreachable")

    def others(self) -> list[Found]:
        """Helpers that other processes have started; such as only look are in nobody's way."""
        deadline = time.monotonic() + GOING
        while True:
            ours = {helper.identity for helper in self.own()}
            found = [one for one in self.found() if one.identity not in ours and not one.sign.startswith(LOOKS)]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def holding(self) -> dict[str, list[str]]:
        """What helpers of this process hold, by their sign; one that holds nothing is not among them."""
        found: dict[str, list[str]] = {}
        for helper in self.own():
            with suppress(Ended):
                if words := helper.call("held"):
                    found[helper.sign] = words
        return found

    def held(self) -> list[str]:
        """What helpers of this process hold, and how to end it."""
        holding = self.holding()
        return [f"{words}; end it by: {self.by_hand(sign)}" for sign, many in holding.items() for words in many]

    def end(self, sign: str) -> None:
        """All helpers of a sign: each undoes what it holds, and is gone when this returns."""
        for one in self.found(sign):
            self.stop(one.identity)

    def withdraw(self, sign: str) -> None:
        """Those that were about to start when their runner was killed: the platform may be making one yet."""
        deadline = time.monotonic() + MAKING
        while time.monotonic() < deadline:
            self.end(sign)
            time.sleep(0.1)

    def relieve(self, sign: str, call: str = "relieve") -> bool:
        """Nothing of what helpers of that sign hold is left when this returns, whoever started them: ours are asked by
        that call, others are ended. Says whether that is certain: not where one of ours ended without a word, as one
        that is killed does, nor where others have started any."""
        own, asked = self.own(sign), set[str]()
        certain = bool(own)
        for helper in own:
            try:
                helper.call(call)
                asked.add(helper.identity)
            except Ended:
                certain = certain and bool(helper.epilogue)
        ours = {helper.identity for helper in own}
        for one in self.found(sign):
            certain = certain and one.identity in ours
            if one.identity not in asked:
                self.stop(one.identity)
        return certain


class Neighbour(Target):
    """A target that is hurt by the helpers beside it; the platform's own mixin says beside what."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.beside = self.place(reference)
        self._sign = LOOK

    @staticmethod
    @abstractmethod
    def place(reference: Reference) -> Beside:
        """Beside what the helpers are started."""

    def alive(self) -> bool:
        return self.beside.alive()

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        return self.beside.watch(tell)

    def arm(self, sign: str) -> None:
        self._sign = sign
        self.beside.obtain(sign)

    def disarm(self, sign: str) -> None:
        self.beside.withdraw(sign)


#: All that this process has started, each place's and sign's in their order; at most the last one lives.
_HELPERS: dict[tuple[Beside, str], list[Helper]] = {}
_LOCKS: dict[tuple[Beside, str], threading.Lock] = {}
_GUARD = threading.Lock()
