"""Runs as Markdown, for the summary of a job: a table, and below it everything that did not pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from veloz_chaos.core.length import interval, length
from veloz_chaos.reports.told import Told, measured
from veloz_chaos.reports.verdict import places

_MARKS = {"passed": "✅", "failed": "❌", "left-behind": "❌"}
_OTHER = "⚠️"
#: What would be taken for markup, or end a table's cell.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")


def render(told: Sequence[Told]) -> str:
    lines = ["## Chaos experiments", "", _closing(told), "", *_table(told)]
    for one in told:
        if one.verdict != "passed":
            lines += ["", *_details(one)]
    return "\n".join(lines) + "\n"


def _closing(told: Sequence[Told]) -> str:
    counts: dict[str, int] = {}
    for one in told:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    return ", ".join(f"**{count} {verdict}**" for verdict, count in counts.items()) or "**nothing was run**"


def _table(told: Sequence[Told]) -> Iterator[str]:
    if not told:
        return
    yield "| experiment | environment | verdict | detected | recovered | why |"
    yield "|---|---|---|---|---|---|"
    for one in told:
        cells = [one.experiment, one.environment, f"{_mark(one.verdict)} {one.verdict}", *_times(one)]
        yield "| " + " | ".join([*map(plain, cells), plain(one.said)]) + " |"


def _times(one: Told) -> Iterator[str]:
    """Detection and recovery; of a disaster what was lost and how long it took."""
    for name, other in (("detection", "rpo"), ("recovery", "rto")):
        instead = one.length_of(other) if one.length_of(name) is None else None
        yield interval(one.length_of(name)) if instead is None else f"{other.upper()} {interval(instead)}"


def _mark(verdict: str) -> str:
    return _MARKS.get(verdict, _OTHER)


def _details(one: Told) -> Iterator[str]:
    yield f"### {_mark(one.verdict)} {plain(one.title)}: {one.verdict}"
    yield ""
    for reason in one.stopped_by:
        yield f"- {plain(reason)}"
    for finding in one.findings:
        if finding.verdict != "passed":
            length_ = f" ({plain(measured(finding))})" if measured(finding) else ""
            yield f"- **{finding.verdict}: {plain(finding.expectation)}**{length_}: {plain(finding.reason)}"
            for place in places(finding, one.folder):
                yield f"  - {plain(place)}"
    if one.findings:
        yield from _all(one)


def _all(one: Told) -> Iterator[str]:
    yield ""
    yield f"<details><summary>all {len(one.findings)} expectations</summary>"
    yield ""
    yield "| expectation | measured | limit | verdict |"
    yield "|---|---|---|---|"
    for f in one.findings:
        limit = "—" if f.limit is None else length(f.limit)
        yield f"| {plain(f.expectation)} | {interval(f.measured)} | {limit} | {_mark(f.verdict)} {f.verdict} |"
    yield ""
    yield "</details>"


def plain(text: str) -> str:
    """As it is, in one line: what a system says of itself is no markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
