"""What the Docker Engine tells of one incarnation of a container: its death, a kill for memory, its health, and that it
was started again, and is then healthy where it has a healthcheck.

The stream is resumed where it broke off (the engine remembers 256 events, by its own clock, which is compared with
nothing else). What arrives late is told late; what never arrives is not told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from veloz_chaos.core.capability import Report
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import docker_api
from veloz_chaos.mechanisms.helper_container import Beside

#: Between two attempts at the stream. Seconds.
AGAIN = 0.2
KINDS = ["die", "oom", "health_status", "start"]

Tell = Callable[[Report], None]


class Incarnation:
    """Which of a container's events are of the incarnation that ran when the watch began; each is told once."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._died, self._succeeded, self._served = tell, False, False, False
        self._health = ""

    def heard(self, event: Mapping[str, Any]) -> None:
        action, _, rest = str(event["Action"]).partition(":")
        if action == "start" and self._died and not self._succeeded:
            self._succeeded = True
            self._tell(Report("started", "container"))
        elif action == "oom" and not self._succeeded:
            self._tell(Report("out-of-memory", "container"))
        elif action == "die" and not self._died:
            self._died = True
            self._tell(Report("died", "container", f"exit {event['Actor']['Attributes'].get('exitCode', '?')}"))
        elif action == "health_status":
            self._felt(rest.strip())

    def _felt(self, health: str) -> None:
        if self._died and self._succeeded and not self._served and health == "healthy":
            self._served = True
            self._tell(Report("replaced", "container"))
        if not self._died and health != self._health:
            self._health = health
            if health in ("healthy", "unhealthy"):
                self._tell(Report("unhealthy" if health == "unhealthy" else "healthy", "container"))


def watch(beside: Beside, tell: Tell) -> Callable[[], None]:
    """As `Target.watch`. Raises Gone if the incarnation is over, Unavailable if the engine does not answer."""
    since = f"{docker_api.now(beside.api):.9f}"
    beside.state()  # it lived after `since`: the first death from then on is its own
    listener = _Listener(beside, since, Incarnation(tell))
    listener.connect()
    threading.Thread(target=listener.listen, name="docker events", daemon=True).start()
    return listener.end


class _Listener:
    def __init__(self, beside: Beside, since: str, incarnation: Incarnation) -> None:
        self._beside, self._since, self._incarnation = beside, since, incarnation
        self._heard: set[tuple[int, str]] = set()
        self._over = threading.Event()
        self._stream: Any = None

    def connect(self) -> None:
        """Raises TargetError."""
        api = self._beside.api
        filters = {"type": ["container"], "container": [self._beside.target], "event": KINDS}
        with docker_api.asking(api):
            self._stream = api.events(since=self._since, filters=filters, decode=True)  # type: ignore[call-overload]

    def listen(self) -> None:
        while not self._over.is_set():
            with suppress(TargetError), docker_api.asking():
                if self._stream is None:
                    self.connect()
                for event in self._stream:
                    self._hear(event)
            self._stream = None
            self._over.wait(AGAIN)

    def _hear(self, event: Mapping[str, Any]) -> None:
        """Once each, though what came last comes again when the stream is resumed."""
        stamp, key = int(event["timeNano"]), (int(event["timeNano"]), str(event["Action"]))
        if key in self._heard or self._over.is_set():
            return
        self._heard.add(key)
        self._since = f"{stamp // 10**9}.{stamp % 10**9:09d}"
        self._incarnation.heard(event)

    def end(self) -> None:
        self._over.set()
        stream = self._stream
        if stream is not None:
            with suppress(TargetError, AttributeError), docker_api.asking():
                stream.close()
