"""What is proven of a row of the response matrix on one environment: by the last judged run of each of its experiments,
and by when the next one is due."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from veloz_chaos.core.record import LEFT_BEHIND, Record
from veloz_chaos.core.standing import Standing

#: `stale`: it passed, but the next run is overdue, or it is too long ago.
Status = Literal["passed", "stale", "failed", "unproven"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: What is no failure, the weaker first.
_RANKS = {"inconclusive": 1, "passed": 2}
#: What a schedule finds wrong that a passed run does not make good.
_OVERDUE = ("overdue", "missing", "unproven")


@dataclass(frozen=True)
class Proof:
    row: str
    #: empty: nowhere was it run, and no schedule names a place
    environment: str
    last: Record | None
    #: the entries that run it there
    standings: tuple[Standing, ...]
    status: Status

    @property
    def overdue(self) -> datetime | None:
        """Since when."""
        return min((s.current.overdue for s in self.standings if s.state == "overdue" and s.current), default=None)

    @property
    def due(self) -> datetime | None:
        """When the next run is, or was, due; None: no schedule says so."""
        waiting = [s.current.start for s in self.standings if s.state in ("due", "overdue") and s.current]
        return min(waiting or [s.upcoming.start for s in self.standings if s.upcoming], default=None)


def proofs(
    rows: Iterable[str],
    environments: Sequence[str],
    records: Iterable[Record],
    standings: Mapping[tuple[str, str], Sequence[Standing]],
    now: float,
    max_age: float | None = None,
    experiments: Collection[str] = (),
) -> list[Proof]:
    """Every row, on each environment on which it was judged or is scheduled; on just these `environments` if any are
    named. `standings` go by row and environment; `now` in seconds since 1970, `max_age` in seconds. `experiments` are
    those that there are: what others have shown of a row counts where none of these was run."""
    last: dict[tuple[str, str], dict[str, Record]] = {}
    for record in sorted((r for r in records if r.tells), key=lambda r: r.started):
        last.setdefault((record.row, record.environment), {})[record.experiment] = record
    found = []
    for row in rows:
        known = dict.fromkeys(where for name, where in [*last, *standings] if name == row)
        for where in environments or sorted(known) or [""]:
            own = tuple(standings.get((row, where), ()))
            shown = _weakest(last.get((row, where), {}), experiments)
            found.append(Proof(row, where, shown, own, _status(shown, own, now, max_age)))
    return found


def _weakest(last: Mapping[str, Record], experiments: Collection[str]) -> Record | None:
    """Of several experiments the one that shows the least decides: one's pass hides no other's failure. Of equals the
    oldest."""
    there = [record for name, record in last.items() if name in experiments]
    return min(there or last.values(), key=lambda r: (_RANKS.get(r.verdict, 0), r.started), default=None)


def _status(last: Record | None, standings: Sequence[Standing], now: float, max_age: float | None) -> Status:
    if last is None or last.verdict == "inconclusive":
        return "unproven"
    if last.verdict in ("failed", LEFT_BEHIND):
        return "failed"
    old = max_age is not None and now - last.started > max_age
    return "stale" if old or any(s.problem in _OVERDUE for s in standings) else "passed"
