"""What has come, so far as there is room: the oldest goes first, and is counted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from veloz_chaos.core.notification import Notification


@dataclass(frozen=True)
class Caught:
    """`n` counts from 1 without a gap; `at` is when all of it had come, in boot-time nanoseconds."""

    n: int
    at: int
    name: str
    notification: Notification

    def as_json(self) -> dict[str, Any]:
        told = self.notification.as_json()
        return {"n": self.n, "at": self.at, "kind": told.pop("kind"), "name": self.name, **told}


class Kept:
    def __init__(self, most: int) -> None:
        self._kept: deque[Caught] = deque(maxlen=most)
        self.last = 0

    def add(self, notification: Notification, name: str, at: int) -> Caught:
        self.last += 1
        self._kept.append(caught := Caught(self.last, at, name, notification))
        return caught

    def after(self, n: int, most: int) -> list[Caught]:
        """The next ones after the n-th, so far as they are still there."""
        start = max(0, n - self.dropped)
        return list(islice(self._kept, start, start + most))

    @property
    def dropped(self) -> int:
        return self.last - len(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
