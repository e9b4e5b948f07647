"""A run as minutes: what happened, by the time of day in UTC. Told as it happens, and again from the journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from veloz_chaos.core import event as ev
from veloz_chaos.reports.narrative import Narrator


class Minutes:
    """Folds the events of one run."""

    def __init__(self) -> None:
        self._narrator = Narrator()

    def tell(self, event: ev.Event) -> str | None:
        """The event's line, None if it is not worth one."""
        text = self._narrator.say(event)
        return text and f"{_time(event.wall)}  {text}"


def _time(wall: float) -> str:
    """A journal that somebody wrote by hand may have any."""
    try:
        return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):
        return "at no time known"


def minutes(events: Iterable[ev.Event]) -> list[str]:
    told = Minutes()
    return [line for event in events if (line := told.tell(event))]
