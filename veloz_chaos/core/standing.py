"""How each entry of a schedule stands at an instant: what is due, what was run for it, what that proves.

A run belongs to the occurrence that it was started for. One that nobody's schedule started belongs to the occurrence
whose turn it was when it began, if it did what the entry asks for. An occurrence that was run is never due again,
however it went; one that was refused was not run. A clock that jumps changes nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from veloz_chaos.core import duration
from veloz_chaos.core.blackout import FAR, ahead
from veloz_chaos.core.occurrence import Occurrence, before, later, occurrences, out_of_blackouts
from veloz_chaos.core.record import LEFT_BEHIND, UNDER_WAY, Record
from veloz_chaos.core.schedule import Entry, Schedule
from veloz_chaos.core.size import parse_share, parse_size

State = Literal["waiting", "due", "overdue", "under-way", "run"]
Problem = Literal["", "failed", "overdue", "missing", "inconclusive", "unproven"]
#: Occurrences before the current one that may have been left out for a blackout.
_BACK = 400
#: Texts that are the same as others.
_READ: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("duration", duration.parse),
    ("size", parse_size),
    ("share", parse_share),
)
#: What is said of an entry that will never be started.
NEVER = "never startable: its blackouts leave no time to start"


@dataclass(frozen=True)
class Standing:
    entry: Entry
    state: State
    #: whose turn it is; None: nothing was due yet
    current: Occurrence | None
    #: the next one whose turn has not come; None: blackouts leave no time for one
    upcoming: Occurrence | None
    #: the latest run that was judged
    last: Record | None
    #: the latest run for the current occurrence, whatever came of it
    latest: Record | None
    problem: Problem
    #: what `check` says of it
    said: str
    #: why `run` would not start it now though it is due; empty if it would, or nothing is due
    held_back: str = ""

    @property
    def never(self) -> str:
        """That it is not to be started any more, if that is so and `held_back` does not say it."""
        if self.upcoming is not None or self.runnable or self.held_back:
            return ""
        return NEVER if self.current is None else NEVER.replace("startable", "startable again")

    @property
    def runnable(self) -> bool:
        return self.state in ("due", "overdue") and not self.held_back


def standing(
    schedule: Schedule,
    name: str,
    entry: Entry,
    records: Sequence[Record],
    now: datetime,
    parameters: Mapping[str, Any] | None = None,
) -> Standing:
    """`records`: runs of the entry's experiment on its environment, in any order. `name`: the schedule's.
    `parameters`: all that a run of the entry is given; None: nobody knows more than the entry itself says."""
    current, upcoming = around(schedule, name, entry, now)
    does = [r for r in records if not r.placebo and _does(r, name, entry, parameters)]
    own = sorted(does, key=lambda r: _turn(r, name, entry))
    told = [r for r in own if current is not None and _for(r, current, upcoming, name, entry)]
    ran = [r for r in told if r.verdict != "refused"]
    last = next((r for r in reversed(own) if r.judged and _earlier(_turn(r, name, entry), upcoming)), None)
    state = _state(current, ran, now)
    problem, said = _judged(state, current, upcoming, ran, last)
    held = _held_back(schedule, entry, current, upcoming, now) if current and state in ("due", "overdue") else ""
    return Standing(entry, state, current, upcoming, last, told[-1] if told else None, problem, said, held)


def around(schedule: Schedule, name: str, entry: Entry, now: datetime) -> tuple[Occurrence | None, Occurrence | None]:
    """The one whose turn it is, and the next: what was left out for a blackout has no turn."""
    moment = now
    for _ in range(_BACK):
        due = before(schedule, entry, moment)
        if due is None or now - due > FAR:
            break
        found = next(occurrences(schedule, name, entry, _just_before(due)), None)
        if found is not None and not found.skipped and found.start <= now:
            return found, _after(schedule, name, entry, found.due, now)
        moment = _just_before(due)
    return None, _after(schedule, name, entry, None, now)


def _just_before(due: datetime) -> datetime:
    return datetime.fromtimestamp(due.timestamp() - 1, UTC)


def _after(schedule: Schedule, name: str, entry: Entry, due: datetime | None, now: datetime) -> Occurrence | None:
    """None: blackouts leave no time for one, for as long as anybody plans."""
    coming = occurrences(schedule, name, entry, due or _some_time_before(now))
    limit: datetime | None = None
    while (found := next(coming, None)) is not None:
        limit = limit or ahead(max(found.due, now), FAR)
        if not found.skipped and found.start > now:
            return found
        if found.due > limit:
            return None
        if not found.skipped:
            continue
        over, _ = out_of_blackouts(schedule, entry, found.due + later(name, entry, found.due))
        if over is None:
            return None
        last = before(schedule, entry, over)
        if last is not None and last > found.due:  # what lies between is left out as well
            coming = occurrences(schedule, name, entry, _just_before(last))
        if over - found.due > FAR:  # one that does not recur: look as far beyond it
            limit = None
    return None


def _some_time_before(now: datetime) -> datetime:
    """Jitter and blackouts may have put off what was due long ago."""
    return datetime.fromtimestamp(now.timestamp() - 400 * 86_400, UTC)


def _does(record: Record, name: str, entry: Entry, parameters: Mapping[str, Any] | None) -> bool:
    """Was it run as the entry asks for? One that was started for it need not know what a default became later; a
    parameter that its experiment did not have yet is no other one."""
    known = entry.with_ if parameters is None or _linked(record, name, entry) else parameters
    wanted = {key: value for key, value in known.items() if key in record.parameters or key in entry.with_}
    return all(same(record.parameters.get(key), value) for key, value in wanted.items())


def alike(record: Record, parameters: Mapping[str, Any]) -> bool:
    """Was it run with these? A parameter that its experiment did not have yet is no other one."""
    return all(same(record.parameters[key], value) for key, value in parameters.items() if key in record.parameters)


def same(one: Any, other: Any) -> bool:
    """Two values of a parameter, as an experiment reads them: 2s is 2000ms."""
    return _as_read(one) == _as_read(other)


def _as_read(value: Any) -> tuple[str, Any]:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    for kind, read in _READ:
        try:
            return kind, read(str(value))
        except ValueError:
            continue
    return "", str(value)


def _linked(record: Record, name: str, entry: Entry) -> bool:
    return record.schedule == name and record.entry == entry.id and record.due is not None


def _turn(record: Record, name: str, entry: Entry) -> float:
    """When it was for, in seconds since 1970: a run's own clock may have been wrong."""
    return record.due if _linked(record, name, entry) and record.due is not None else record.started


def _for(record: Record, current: Occurrence, upcoming: Occurrence | None, name: str, entry: Entry) -> bool:
    turn = _turn(record, name, entry)
    return current.due.timestamp() <= turn and _earlier(turn, upcoming)


def _earlier(turn: float, upcoming: Occurrence | None) -> bool:
    return upcoming is None or turn < upcoming.due.timestamp()


def _state(current: Occurrence | None, ran: Sequence[Record], now: datetime) -> State:
    if current is None:
        return "waiting"
    if ran:
        return "under-way" if ran[-1].verdict == UNDER_WAY else "run"
    return "overdue" if now >= current.overdue else "due"


def _judged(
    state: State,
    current: Occurrence | None,
    upcoming: Occurrence | None,
    ran: Sequence[Record],
    last: Record | None,
) -> tuple[Problem, str]:
    if current is None and upcoming is None:
        return "missing", NEVER
    if current is None:
        return "", f"not due before {_when(upcoming.start)}" if upcoming else ""
    if state == "overdue":
        was = f"was due {_when(current.start)}, overdue since {_when(current.overdue)}"
        if last is None:
            return "missing", f"never run; {was}"
        return "overdue", f"{was}; last run {_when_run(last)}: {last.verdict}"
    if state == "run" and (ran[-1].verdict == LEFT_BEHIND or not any(record.judged for record in ran)):
        return "unproven", f"run {_when_run(ran[-1])}, but {ran[-1].verdict}: {ran[-1].reason or 'it proves nothing'}"
    if last is not None and last.verdict == "failed":
        return "failed", f"failed {_when_run(last)}: {last.reason}"
    if last is not None and last.verdict != "passed":
        return "inconclusive", f"{last.verdict} {_when_run(last)}: {last.reason}"
    if state == "due":
        return "", f"due since {_when(current.start)}, overdue from {_when(current.overdue)}"
    return "", f"passed {_when_run(last)}" if last else "under way"


def _held_back(
    schedule: Schedule, entry: Entry, current: Occurrence, upcoming: Occurrence | None, now: datetime
) -> str:
    if current.until is not None and now >= current.until:
        instead = f", or wait until {_when(upcoming.start)}" if upcoming else f"; {NEVER}"
        return f"its window ended {_when(current.until)}; run it by hand{instead}"
    end, title = out_of_blackouts(schedule, entry, now)
    if end is None:
        return f"in the blackout {title}, and it never ends: the blackouts leave no time to start"
    return f"in the blackout {title} until {_when(end)}" if title else ""


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _when_run(record: Record) -> str:
    return _when(datetime.fromtimestamp(record.started, UTC))
