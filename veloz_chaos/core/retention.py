"""Which runs may go. The latest judged run of each experiment on each environment stays whatever is asked for: it is
the evidence; and so does every run that may have left something in place, or has not ended."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from veloz_chaos.core.record import Record


@dataclass(frozen=True)
class Retention:
    """At least one of them; with both, a run goes only if both let it go. `before` in seconds since 1970."""

    keep: int | None = None
    before: float | None = None


@dataclass(frozen=True)
class Sorted:
    goes: tuple[Record, ...]
    #: would go, but for the reason given
    stays: tuple[tuple[Record, str], ...]


def sort(records: Iterable[Record], retention: Retention, unsettled: Container[str]) -> Sorted:
    """`unsettled`: folders of runs whose journal does not say that all is over."""
    goes: list[Record] = []
    stays: list[tuple[Record, str]] = []
    seen: dict[tuple[str, str], int] = {}
    proven: set[tuple[str, str]] = set()
    for record in sorted(records, key=lambda one: (one.started, one.folder), reverse=True):
        which = record.experiment, record.environment
        place = seen[which] = seen.get(which, 0) + 1
        evidence = record.judged and which not in proven
        proven |= {which} if evidence else set()
        if not _let_go(record, place, retention):
            continue
        if record.folder in unsettled:
            stays.append((record, "a fault may still be in place, or it has not ended"))
        elif evidence:
            stays.append((record, "the latest evidence of its experiment there"))
        else:
            goes.append(record)
    return Sorted(tuple(goes), tuple(stays))


def _let_go(record: Record, place: int, retention: Retention) -> bool:
    old = retention.before is None or record.started < retention.before
    many = retention.keep is None or place > retention.keep
    return old and many
