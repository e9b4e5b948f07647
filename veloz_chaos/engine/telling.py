"""Others are told of a run: of its start and its verdict, and of its phases as a trace.

Each has a thread of its own, off the measuring loop. Whoever hangs, refuses or answers nonsense costs the run a
warning, and at its end a few seconds at most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from veloz_chaos.core import event as ev
from veloz_chaos.core.environment import Tell
from veloz_chaos.core.history import History
from veloz_chaos.core.notification import plain
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import UsageError

if TYPE_CHECKING:
    from veloz_chaos.core.judge import Judgement
    from veloz_chaos.engine.speaking import Speaker
    from veloz_chaos.reports.announced import Told

#: Seconds: for one request, and for all that is still to be told when a run is over.
ONCE, ALL = 3.0, 4.0
#: Either says where traces go, as OpenTelemetry has it.
_TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def telling(tell: Tell | None) -> Telling | None:
    """None where nobody wants to hear of it, which costs nothing."""
    return Telling(tell) if tell is not None or _traced() else None


def _traced() -> bool:
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return any(os.environ.get(name) for name in _TRACES) and not off and exporter == "otlp"


class Telling:
    """`note` hears every event and costs nothing; `end` waits, and returns a warning for each who was not told."""

    def __init__(self, tell: Tell | None) -> None:
        self._secrets = Secrets()
        self._ears = [_Ear(name, how) for name, how in _listeners(tell, self._secrets)] if tell else []
        self._started: ev.RunStarted | None = None

    def note(self, event: ev.Event) -> None:
        if isinstance(event, ev.RunStarted):
            from veloz_chaos.reports import announced as told

            self._started = event
            for ear in self._ears:
                ear.hear("the start", told.started(event))

    def end(self, history: History, judgement: Judgement) -> list[str]:
        if self._started is None:
            return []
        from veloz_chaos.reports import announced as told

        began = self._started
        at = began.wall + (history.last_at - began.at) / 1e9
        news = told.ended(told.started(began), judgement, at)
        for ear in self._ears:
            ear.hear("the verdict", news)
        if _traced():
            self._ears.append(_Ear("OpenTelemetry", lambda _: _trace(began, history, judgement)))
            self._ears[-1].hear("the phases", news)
        deadline = time.monotonic() + ALL
        for ear in self._ears:
            ear.hear_no_more()
        for ear in self._ears:
            ear.await_end(deadline)
        return [self._secrets.redact(problem) for ear in self._ears for problem in ear.problems]


class _Ear(Thread):
    """Somebody who is told one thing after the other."""

    def __init__(self, name: str, tell: Callable[[Told], None]) -> None:
        super().__init__(name=f"tell {name}", daemon=True)
        self.problems: list[str] = []
        self._who, self._tell = name, tell
        self._news: SimpleQueue[tuple[str, Told] | None] = SimpleQueue()
        self.start()

    def hear(self, what: str, told: Told) -> None:
        self._news.put((what, told))

    def run(self) -> None:
        while (news := self._news.get()) is not None:
            what, told = news
            try:
                self._tell(told)
            except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on
                reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
                self.problems.append(f"{self._who} was not told of {what}: {plain(reason)}")

    def hear_no_more(self) -> None:
        self._news.put(None)

    def await_end(self, deadline: float) -> None:
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            self.problems.append(f"{self._who} was not told in time: no answer within {ALL:g} s")


def _listeners(tell: Tell, secrets: Secrets) -> Iterator[tuple[str, Callable[[Told], None]]]:
    """Imported here, before the run: it takes a moment."""
    from veloz_chaos.engine.speaking import Speaker
    from veloz_chaos.reports import announced as told

    if tell.grafana is not None:
        yield "Grafana", _Grafana(Speaker(tell.grafana, secrets, ONCE), tell.grafana.tags).tell
    if tell.slack is not None:
        yield "Slack", _Post(Speaker(tell.slack, secrets, ONCE), told.slack).tell
    if tell.webhook is not None:
        yield "the webhook", _Post(Speaker(tell.webhook, secrets, ONCE), told.webhook).tell


class _Post:
    def __init__(self, speaker: Speaker, text: Callable[[Told], dict[str, Any]]) -> None:
        self._speaker, self._text = speaker, text

    def tell(self, told: Told) -> None:
        self._speaker.send("POST", "", self._text(told))


class _Grafana:
    """The start is an annotation, which the verdict makes a region; without the first it is one from the outset."""

    def __init__(self, speaker: Speaker, tags: list[str]) -> None:
        self._speaker, self._tags = speaker, tags
        self._id: Any = None

    def tell(self, told: Told) -> None:
        from veloz_chaos.reports.announced import annotation

        body = annotation(told, self._tags)
        if self._id is not None:
            self._speaker.send("PATCH", f"/api/annotations/{self._id}", body)
            return
        answer = self._speaker.send("POST", "/api/annotations", body)
        self._id = answer.get("id") if isinstance(answer, dict) else None


def _trace(began: ev.RunStarted, history: History, judgement: Judgement) -> None:
    from veloz_chaos.core.spans import spans
    from veloz_chaos.engine import tracing

    tracing.export(spans(history, judgement, began.at), round(began.wall * 1e9) - began.at, ONCE)
