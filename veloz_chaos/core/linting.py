"""`lint alerts`: from what was read to what is wrong, row by row, rule by rule, route by route. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from veloz_chaos.core import linting_rows, linting_rules, linting_tree
from veloz_chaos.core.linting_rows import RowReport
from veloz_chaos.core.linting_setup import Finding
from veloz_chaos.core.linting_whole import Whole


@dataclass(frozen=True)
class Report:
    rows: tuple[RowReport, ...]
    findings: tuple[Finding, ...]

    @property
    def defects(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.level == "defect")

    @property
    def notes(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.level == "note")


def lint(whole: Whole, more: Sequence[Finding] = ()) -> Report:
    """`more`: what was found while reading."""
    of_rows = list(linting_rows.rows(whole))
    found = [
        *more,
        *(finding for _, findings in of_rows for finding in findings),
        *linting_rules.findings(whole),
        *linting_tree.findings(whole),
    ]
    return Report(tuple(row for row, _ in of_rows), tuple(found))
