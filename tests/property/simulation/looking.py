"""How it is looked at: each look tells the truth of some instant between asked and answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.property.simulation.truth import HANGS, State, Timeline


@dataclass(frozen=True)
class Gaze:
    """Lengths in nanoseconds. Looks are open-loop: with a latency above the period they overlap."""

    period: int
    latency: int
    timeout: int
    #: this share of the looks is never taken
    lost: float = 0.0
    #: our own loop stands still in [start, end)
    stall: tuple[int, int] | None = None

    @property
    def tick(self) -> int:
        """The longest time from one ask to the next."""
        return self.period + self.period // 10

    @property
    def longest(self) -> int:
        return max(self.latency, self.timeout)


@dataclass(frozen=True)
class Seen:
    asked: int
    answered: int
    outcome: State
    stalled: bool


def looks(line: Timeline, gaze: Gaze, start: int, end: int, seed: str) -> Iterator[Seen]:
    """One probe from `start` to `end`; the same seed looks at the same instants, whatever is to be seen."""
    random = Random(seed)
    for due in range(start, end, gaze.period):
        asked = due + random.randint(0, gaze.period // 10)
        latency = random.randint(gaze.latency // 20, gaze.latency)
        instant = asked + random.randint(0, latency)
        if random.random() >= gaze.lost and not _stands_still(gaze, asked):
            yield _look(line.at(instant), asked, latency, gaze)


def _look(state: State, asked: int, latency: int, gaze: Gaze) -> Seen:
    answered = asked + (gaze.timeout if state == HANGS else latency)
    if gaze.stall is None or not gaze.stall[0] <= answered < gaze.stall[1]:
        return Seen(asked, answered, state, False)
    return Seen(asked, gaze.stall[1], state, state == HANGS)


def _stands_still(gaze: Gaze, asked: int) -> bool:
    return gaze.stall is not None and gaze.stall[0] <= asked < gaze.stall[1]


def one_after_another(line: Timeline, pause: int, latency: int, start: int, end: int, seed: str) -> Iterator[Seen]:
    """Looks at whether a fault is there: never two at once."""
    random, asked = Random(seed), start
    while asked < end:
        took = random.randint(latency // 20, latency)
        yield Seen(asked, asked + took, line.at(asked + random.randint(0, took)), False)
        asked += took + pause
