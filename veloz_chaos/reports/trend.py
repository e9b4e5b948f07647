"""How the times of each experiment change, in a table, and in sentences where that says something."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from veloz_chaos.core.interval import Nanoseconds
from veloz_chaos.core.length import length
from veloz_chaos.core.trend import NAMES, NOTHING, RISK, Change, Trend, needed
from veloz_chaos.reports.history import iso, when
from veloz_chaos.reports.table import table
from veloz_chaos.reports.verdict import wrapped

_VERBS = {
    "detection": "is noticed after {}", "recovery": "recovers after {}", "rto": "is back after {} (RTO)",
    "rpo": "loses {} (RPO)",
}  # fmt: skip


def report(trends: Sequence[Trend], width: int = 80) -> list[str]:
    if not trends:
        return ["no run that was judged fits"]
    columns = ["experiment", "environment", "passed", "last", "since", "detected", "recovered"]
    rows = [[t.experiment, t.environment, _passed(t), t.last, when(t.since)[:10], *_changes(t)] for t in trends]
    lines = table(columns, rows, width)
    for text in (*_warnings(trends), *_left_out(trends), *_few(trends)):
        lines += ["", *wrapped(text, width)]
    return lines


def _passed(t: Trend) -> str:
    return f"{t.counts.get('passed', 0)} of {t.judged}"


def _changes(t: Trend) -> Iterator[str]:
    """Detection and recovery; of a disaster what was lost and how long it took."""
    for name, other, word in (("detection", "rpo", "RPO"), ("recovery", "rto", "RTO")):
        if name not in t.changes and other in t.changes:
            yield f"{word} {_change(t.changes[other])}"
        else:
            yield _change(t.changes.get(name, NOTHING))


def _change(change: Change) -> str:
    """`1.2 → 1.3 s`: the medians of the earlier and of the latest runs."""
    if change.now is None:
        return _length(change.before)
    slower = " slower" if change.slower else ""
    return f"{_length(change.before)} → {_length(change.now)}{slower}"


def _length(value: Nanoseconds | None) -> str:
    return "—" if value is None else "never" if math.isinf(value) else length(value)


def _warnings(trends: Sequence[Trend]) -> Iterator[str]:
    told = 0
    for t in trends:
        for name, change in t.changes.items():
            told += change.tells
            if change.slower:
                yield (
                    f"SLOWER: {t.experiment} on {t.environment} {_VERBS[name].format(_range(change.latest))} in the "
                    f"latest {len(change.latest)} runs, {_range(change.earlier)} in the {len(change.earlier)} "
                    f"before; chance does the same in {_share(change.chance)} of all cases (exact rank-sum test)"
                )
    if told:
        yield (
            f"{told} comparison{'' if told == 1 else 's'}, each told where chance would do the same in less than "
            f"{_share(RISK)} of all cases: expect {told * RISK:.2g} warnings without a cause. A cause may also be "
            f"another version, another machine, or a load beside it."
        )


def _range(times: Sequence[Any]) -> str:
    least, most = min(t.at_least for t in times), max(t.at_most for t in times)
    return f"at least {length(least)}" if math.isinf(most) else f"{length(least)} to {length(most)}"


def _share(share: float) -> str:
    return f"{share * 100:.2g} %"


def _left_out(trends: Sequence[Trend]) -> Iterator[str]:
    for t in trends:
        if t.left_out:
            what = ", ".join(f"{n} with {why}" for why, n in t.left_out.items())
            yield f"{t.experiment} on {t.environment}: not compared with the latest run: {what}"


def _few(trends: Sequence[Trend]) -> Iterator[str]:
    few = [t for t in trends if not any(change.tells for change in t.changes.values())]
    if few:
        names = ", ".join(f"{t.experiment} on {t.environment} ({_count(t)})" for t in few)
        yield (
            f"too few runs to tell a slowdown from chance, however great it is: {names}; it takes {needed()} that can "
            f"be compared"
        )


def _count(t: Trend) -> int:
    return max((len(change.earlier) + len(change.latest) for change in t.changes.values()), default=0)


def as_json(t: Trend) -> dict[str, Any]:
    return {
        "experiment": t.experiment,
        "environment": t.environment,
        "counts": dict(t.counts),
        "last": t.last,
        "since": iso(t.since),
        "until": iso(t.until),
        **{name: _change_json(t.changes[name]) if name in t.changes else None for name in NAMES},
        "left_out": dict(t.left_out),
    }


def _change_json(change: Change) -> dict[str, Any]:
    """Lengths in seconds as [at least, at most]; null: it never came."""
    return {
        "earlier": [time.as_json() for time in change.earlier],
        "latest": [time.as_json() for time in change.latest],
        "chance": change.chance,
        "slower": change.slower,
        "can_tell": change.tells,
        "needed_runs": needed(),
    }
