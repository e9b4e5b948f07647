"""Everything that can go wrong, with its exit code.

Error                    what the user reads instead of a traceback
├── UsageError       2   wrong usage
│   └── InvalidFile  2   a file says something it may not; carries every problem at once
├── Refused          4   steady state, guard or lock says no; nothing was touched
├── Interrupted      5   Ctrl-C came before it was begun
└── TargetError      -   a target could not do what it was asked
    ├── Gone         -   the incarnation no longer exists
    ├── Unavailable  -   the platform's API does not answer, or answers nonsense
    └── Missing      -   nothing matches a selector

How a run ended (0 passed, 1 failed, 3 inconclusive, 5 aborted, 6 something left behind) is a judgement, not an error.
A TargetError has no exit code of its own: where it happens decides (2 before a run, a journal event within one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PASSED, FAILED, USAGE, INCONCLUSIVE, REFUSED, ABORTED, LEFT_BEHIND, BUG = 0, 1, 2, 3, 4, 5, 6, 70
#: Of several runs the worst counts: the first of these that occurs.
WORST_FIRST = (LEFT_BEHIND, BUG, FAILED, INCONCLUSIVE, ABORTED, REFUSED, USAGE, PASSED)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in one place: `file:line:column: what is wrong; what to write instead`."""

    file: str
    line: int
    column: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: " if self.file else ""
        return place + self.message + (f"; {self.remedy}" if self.remedy else "")


class Error(Exception):
    """Base of all that the user is meant to read."""

    exit_code = BUG


class UsageError(Error):
    exit_code = USAGE


class InvalidFile(UsageError):
    """Carries every problem found, sorted by place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class Refused(Error):
    exit_code = REFUSED


class Interrupted(Error):
    exit_code = ABORTED


class TargetError(Error):
    exit_code = USAGE


class Gone(TargetError):
    """The incarnation that a reference names no longer exists; whatever was in it went with it."""


class Unavailable(TargetError):
    """The platform's API does not answer in time, or answers what it must not."""


class Missing(TargetError):
    """Nothing matches the selector."""


def no_run(code: int) -> str:
    """The verdict of what never became a run and ended with this code."""
    return {REFUSED: "refused", ABORTED: "aborted"}.get(code, "invalid")


def worst(codes: Sequence[int]) -> int:
    """The exit code that counts when several runs end with these; 0 for none."""
    return min(codes, key=WORST_FIRST.index, default=PASSED)
