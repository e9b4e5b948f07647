"""Looking: each probe open-loop at its period, with bounded overlap, on one asyncio loop whose own lag is recorded.

A tick that comes too late is left out, never made up for: the gap shows in the journal and judges itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from veloz_chaos.core import condition
from veloz_chaos.core import event as ev
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.plan import PlannedProbe
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.core.workload import Action
from veloz_chaos.engine.clock import moment, now, slept
from veloz_chaos.engine.secrets import Secrets, new_id
from veloz_chaos.errors import UsageError

#: Looks of one probe under way at the same time, at most.
OVERLAP = 40
#: The probes begin one after the other within this, so that they do not wait for each other ever after. Seconds.
APART = 0.05
#: How often the loop's lag is measured, and what of it is worth an event. Seconds, nanoseconds.
LAG_TICK = 0.02
WORTH_NOTING = 250_000_000
#: A time-out is unknown if the loop stood still for this share of it.
STALL_SHARE = 0.25
#: A jump of the suspend time beyond this is a sleep, not the reading of two clocks. Nanoseconds.
SLEPT = 50_000_000

#: So long may a probe take to close. Seconds.
CLOSING = 1.0

Emit = Callable[[ev.Event], None]
#: the latest counts of the workload, if one runs
Counts = Callable[[], Mapping[str, Any] | None]


class Probes(Protocol):
    def probe(self, name: str) -> type[Probe]: ...


@dataclass
class Lag:
    """The stretches in which our own loop stood still, the latest ones."""

    stretches: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=200))

    async def watch(self, emit: Emit) -> None:
        asleep = slept()
        while True:
            before = now()
            await asyncio.sleep(LAG_TICK)
            lag = now() - before - int(LAG_TICK * 1e9)
            if lag > LAG_TICK * 1e9:
                self.stretches.append((before, now()))
            if lag > WORTH_NOTING:
                emit(ev.LoopStalled(since=before, **moment()))
            if slept() - asleep > SLEPT:
                emit(ev.ClockJumped(since=before, **moment()))
                asleep = slept()

    def stood_still(self, asked: int, answered: int) -> bool:
        """Was the loop away for a good part of this look?"""
        away = sum(max(0, min(end, answered) - max(start, asked)) for start, end in self.stretches)
        return away > STALL_SHARE * (answered - asked)


class Fate:
    """What became of an order that a probe placed, by the words of the workload that is audited with it."""

    def __init__(self, place: Action) -> None:
        self._accepted = condition.compile(place.accepted, condition.LOOK_VARIABLES)
        self._refused = condition.compile(place.refused, condition.LOOK_VARIABLES)

    def of(self, variables: Mapping[str, Any]) -> ev.Fate:
        try:
            if self._accepted.holds(variables):
                return "accepted"
            return "refused" if self._refused.holds(variables) else "unknown"
        except condition.ConditionTypeError:
            return "unknown"


class Looker:
    """One probe, looking."""

    def __init__(
        self,
        name: str,
        plan: PlannedProbe,
        probe: Probe,
        secrets: Secrets,
        lag: Lag,
        emit: Emit,
        workload: Counts = lambda: None,
        phase: float = 0.0,
        fate: Fate | None = None,
    ) -> None:
        self.name = name
        self._phase = phase
        self._probe = probe
        self._eye = Eye(timeout=plan.timeout, fill=secrets.fill, workload=workload)
        self._writes, self._secrets = plan.writes is not None, secrets
        self._period, self._timeout = plan.every, plan.timeout
        self._ok = condition.compile(plan.ok or probe.default_ok, condition.LOOK_VARIABLES)
        self._value = condition.compile(plan.value, condition.LOOK_VARIABLES) if plan.value else None
        self._last: Any = None
        self._lag, self._emit, self._fate = lag, emit, fate
        self._under_way: set[asyncio.Task[None]] = set()
        self.looked = asyncio.Event()
        #: why looking makes no sense any more: a file that is wrong, or a bug
        self.broken: BaseException | None = None

    async def open(self) -> None:
        await self._probe.open(self._eye)

    def struck(self) -> None:
        self._probe.struck()

    def prompt(self) -> None:
        """A target's platform has told something: a probe that asks that platform looks now, besides its period."""
        if self._probe.prompted and self.looked.is_set():
            self._begin_look()

    async def close(self) -> None:
        async with asyncio.timeout(CLOSING):
            await self._probe.close()

    async def keep_looking(self) -> None:
        try:
            await asyncio.sleep(self._phase)
            await self._tick(self._period.total_seconds())
        finally:
            for task in self._under_way:
                task.cancel()

    async def _tick(self, period: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._begin_look()
            due += period
            if loop.time() > due:
                due += period * ((loop.time() - due) // period + 1)
            await asyncio.sleep(due - loop.time())

    def _begin_look(self) -> None:
        if len(self._under_way) < OVERLAP:
            task = asyncio.create_task(self._look())
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A look that ends in anything but an answer is a probe's bug, and ends the run."""
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.broken = self.broken or task.exception()

    async def _look(self) -> None:
        order = new_id() if self._writes else None
        eye = self._eye if order is None else replace(self._eye, fill=partial(self._secrets.fill, unique=order))
        asked = now()
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                seen = await self._probe.look(eye)
        except TimeoutError:
            answered = now()
            why_not = f"no answer in {self._timeout.total_seconds():g} s"
            self._report(asked, answered, "unanswered", why_not, order=order)
        except UsageError as error:
            self.broken = error
            self._report(asked, now(), "not-shown", str(error), order=order)
        except OSError as error:
            self.broken = UsageError(f"probe {self.name} can't look: {error}")
        else:
            self._judge(asked, now(), seen, order)
        self.looked.set()

    def _judge(self, asked: int, answered: int, seen: Seen, order: str | None) -> None:
        variables = _variables(seen, answered - asked)
        try:
            shown = self._ok.holds(variables)
        except condition.ConditionTypeError as error:
            self.broken = self.broken or UsageError(f"probe {self.name}: {error}")
            shown = False
        reason = "" if shown else why(seen)
        value = self._read(variables) if shown and self._value else None
        if shown and self._value and value is None:
            shown, reason = False, "its value is missing"
        news = None if value == self._last else value
        fate = self._fate.of(variables) if self._fate and order else None
        self._last = value if value is not None else self._last
        self._report(asked, answered, "shown" if shown else "not-shown", reason, news, order, fate)

    def _read(self, variables: Mapping[str, Any]) -> Any:
        """The probe's value; None if it is missing (or null), which is not a value."""
        assert self._value is not None
        try:
            return self._value.value(variables)
        except condition.ConditionMissing:
            return None

    def _report(
        self,
        asked: int,
        answered: int,
        outcome: ev.Outcome,
        reason: str,
        value: Any = None,
        order: str | None = None,
        fate: ev.Fate | None = None,
    ) -> None:
        stalled = outcome == "unanswered" and self._lag.stood_still(asked, answered)
        self._emit(
            ev.LookTaken(
                probe=self.name,
                asked=asked,
                answered=answered,
                outcome=outcome,
                reason=reason,
                stalled=stalled,
                value=value,
                order=order,
                fate=fate or ("unknown" if order and self._fate else None),
                **moment(),
            )
        )


def _variables(seen: Seen, took: int) -> dict[str, Any]:
    return {
        "status": seen.status,
        "headers": dict(seen.headers),
        "json": seen.json,
        "text": seen.text,
        "error": seen.error,
        "value": seen.value,
        "latency": seen.latency or timedelta(microseconds=took / 1000),
        "now": datetime.now(UTC),
    }


def why(seen: Seen) -> str:
    """What was seen instead, short enough for a journal line."""
    if seen.error:
        return seen.error[:200]
    text = " ".join(seen.text.split())
    return f"{seen.status or ''} {text[:160]}".strip()


def lookers(
    probes: Mapping[str, PlannedProbe],
    known: Probes,
    secrets: Secrets,
    lag: Lag,
    emit: Emit,
    workload: Counts = lambda: None,
    fate: Fate | None = None,
) -> list[Looker]:
    """Raises UsageError for what the probes' own types refuse."""
    step = APART / max(len(probes), 1)
    return [
        Looker(name, plan, _made(plan, known), secrets, lag, emit, workload, step * number, fate)
        for number, (name, plan) in enumerate(probes.items())
    ]


def _made(plan: PlannedProbe, known: Probes) -> Probe:
    made: Probe = known.probe(plan.type).__pydantic_validator__.validate_python(plan.arguments)  # type: ignore[attr-defined]
    return made


def longest(probes: Mapping[str, PlannedProbe]) -> int:
    """Nanoseconds until even the slowest probe has had one whole look."""
    return max((nanoseconds(p.every) + nanoseconds(p.timeout) for p in probes.values()), default=0)
