"""Were events lost while a subscription was away? By their ids, where the server numbers them one after the other.

Within one connection TCP loses nothing, so that a jump there only says that ids do not count; from then on nothing is
judged. After coming back with last id N the first numbered event must be N+1; an earlier one is a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Numbering:
    """`gaps`: how often something was missing, `missed`: how many ids in all."""

    gaps: int = 0
    missed: int = 0
    #: None: not known yet
    consecutive: bool | None = None
    _last: int | None = None
    _back: bool = False

    def came_back(self) -> None:
        self._back = True

    def saw(self, number: str) -> None:
        """Of an event, its id."""
        if not (number.isascii() and number.isdigit() and len(number) < 30):
            self.consecutive = False
            return
        new = int(number)
        if self._last is None:
            pass
        elif self._back:
            self._resumed(self._last, new)
        elif self.consecutive is not False:
            self.consecutive = new == self._last + 1
        self._last, self._back = new, False

    def _resumed(self, last: int, new: int) -> None:
        if self.consecutive and new > last + 1:
            self.gaps += 1
            self.missed += new - last - 1
