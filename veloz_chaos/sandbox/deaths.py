"""Who died, and of what: from what a platform says of the incarnations of services, again and again.

Pure, and the same for containers and pods. It counts what it saw running and sees no more; a platform's own counters
are not asked, since a start by hand sets them back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from veloz_chaos.sandbox.limits import OOM
from veloz_chaos.sandbox.service_metrics import Told

KILLED, EXITED = "killed", "exited"
#: Of the exit code of a process that a signal ended.
_BY_SIGNAL = 128


@dataclass(frozen=True)
class Incarnation:
    """One start of a service: `name` is another one at each. `ended`: of what it died, or, while it runs, the one that
    ran before (what comes up later is of its own); "" where that is not known."""

    service: str
    name: str
    runs: bool
    serves: bool
    ended: str = ""


def reason(code: int, oom_killed: bool) -> str:
    if oom_killed:
        return OOM
    return KILLED if code > _BY_SIGNAL else EXITED


class Deaths:
    """One thread looks, another may ask what is told."""

    def __init__(self) -> None:
        self.told: tuple[Told, ...] = ()
        self._running: dict[str, Incarnation] = {}
        #: the names of all that there was at the last look
        self._known: frozenset[str] = frozenset()
        #: what each that runs was said to have died of when it was first seen: of the one before it
        self._inherited: dict[str, str] = {}
        self._starts: Counter[str] = Counter()
        self._deaths: dict[str, Counter[str]] = {}
        self._gone: dict[str, str] = {}

    def saw(self, now: Sequence[Incarnation]) -> None:
        """All that there is, in the order of looks. What runs at the first one has not died yet."""
        running = {one.name: one for one in now if one.runs}
        for one in now:
            self._deaths.setdefault(one.service, Counter())
        for name, before in self._running.items():
            if name not in running:
                why = self._why(before, now)
                self._deaths[before.service][why] += 1
                self._gone[before.service] = why
        self._starts.update(one.service for name, one in running.items() if name not in self._running)
        self._inherited = {name: self._inherited.get(name, one.ended) for name, one in running.items()}
        self._running, self._known = running, frozenset(one.name for one in now)
        for one in running.values():
            if one.serves:
                self._gone.pop(one.service, None)
        self.told = tuple(map(self._of, sorted(self._deaths)))

    def _why(self, dead: Incarnation, now: Iterable[Incarnation]) -> str:
        """What is said of the dead one itself, else by one that is new (what was there before died of its own), else
        what came up of it while it ran: a platform may forget that at the next start."""
        mine = [one for one in now if one.service == dead.service and one.ended]
        told = [one for one in mine if one.name == dead.name] + [one for one in mine if one.name not in self._known]
        last = dead.ended if dead.ended != self._inherited[dead.name] else ""
        return told[0].ended if told else last or KILLED

    def _of(self, service: str) -> Told:
        serves = any(one.serves for one in self._running.values() if one.service == service)
        restarts, gone = max(self._starts[service] - 1, 0), self._gone.get(service, "")
        return Told(service, serves, restarts, gone, Counter(self._deaths[service]))
