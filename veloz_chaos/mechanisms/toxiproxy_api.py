"""Toxiproxy's HTTP API by way of toxiproxy-python, whose holes are closed here.

That package keeps one server address for the whole process, never times out and lets a 500 through as if it were an
answer; the server accepts a misspelled attribute and does nothing. Here: one `Api` per server, every call bounded in
time, every answer's status and shape checked, every write read back, no proxy from the environment, no redirects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from pydantic import BaseModel

from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms.proxy_api import Conflict, NotFound, ProxyApi

#: Seconds that one call may take, and that its thread gets beyond the socket's own time-outs.
PATIENCE, GRACE = 2.0, 0.5
#: requests takes proxies from the environment unless each scheme is named and empty.
DIRECT = {"http": None, "https": None, "all": None}
Result = TypeVar("Result")


class Toxic(BaseModel):
    name: str
    type: str
    stream: str
    attributes: dict[str, Any]
    toxicity: float = 1.0


class State(BaseModel):
    """One proxy as the server shows it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: list[Toxic]


class Api(ProxyApi):
    """One server. Every method raises Unavailable if it does not answer in time or is not Toxiproxy."""

    program, usual, below = "Toxiproxy", 8474, "toxics"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._made: Any = None

    def proxies(self) -> dict[str, State]:
        return self.shaped(dict[str, State], self._call("get", "/proxies"))

    def proxy(self, name: str) -> State | None:
        """None if there is no such proxy."""
        try:
            return self.shaped(State, self._call("get", self.path(name)))
        except NotFound:
            return None

    def add(self, proxy: str, toxic: Toxic) -> None:
        """Raises TargetError if the server does not have exactly this toxic afterwards."""
        with suppress(Conflict):  # whose it is shows when it is read back
            self._call("post", self.path(proxy, ""), json=toxic.model_dump())
        kept = self.shaped(Toxic, self._call("get", self.path(proxy, toxic.name)))
        if kept != toxic:
            raise TargetError(f"Toxiproxy at {self} was asked for {toxic!r} and has {kept!r}")

    def remove(self, proxy: str, toxic: str, patience: float = PATIENCE) -> None:
        """Nothing to do if it is gone."""
        with suppress(NotFound):
            self._call("delete", self.path(proxy, toxic), patience)

    def _call(self, method: str, where: str, patience: float = PATIENCE, **body: Any) -> Any:
        """The answer's JSON; None if it is empty."""
        send = getattr(self._consumer(), method)
        asked = {"timeout": patience, "proxies": DIRECT, "allow_redirects": False, **body}
        response = self._within(patience + GRACE, lambda: send(where, **asked))
        if not 200 <= response.status_code < 300:
            raise Unavailable(f"Toxiproxy at {self} answers {response.status_code} to {where}: {response.text[:200]}")
        return self.parsed(response.content) if response.content else None

    def _consumer(self) -> Any:
        """A subclass of the package's client with an address of its own. The import takes 100 ms."""
        if self._made is None:
            from toxiproxy.api import APIConsumer

            self._made = type("Consumer", (APIConsumer,), {"host": self.host, "port": self.port})
        return self._made

    def _within(self, seconds: float, send: Callable[[], Result]) -> Result:
        """The socket's time-out bounds each read, not the whole: a server that trickles would hold us for ever."""
        done: SimpleQueue[Callable[[], Result]] = SimpleQueue()
        threading.Thread(target=lambda: done.put(self._outcome(send)), daemon=True).start()
        try:
            return done.get(timeout=seconds)()
        except Empty:
            raise Unavailable(f"Toxiproxy at {self} has not answered in {seconds} s") from None

    def _outcome(self, send: Callable[[], Result]) -> Callable[[], Result]:
        """What the thread that waits has to do: return the answer, or raise what is made of the error."""
        from requests.exceptions import RequestException
        from toxiproxy.exceptions import InvalidToxic, ProxyExists
        from toxiproxy.exceptions import NotFound as Absent

        kinds = {Absent: NotFound, ProxyExists: Conflict, InvalidToxic: TargetError}
        try:
            answer = send()
        except (RequestException, ValueError) as error:
            return _raising(Unavailable(f"Toxiproxy at {self} does not answer: {error}; is it running there?"))
        except tuple(kinds) as error:
            return _raising(self.refusal(kinds[type(error)], error.args[0]))
        return lambda: answer


def _raising(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail
