"""The response matrix: how fast each failure must be noticed and overcome. Every limit lives here and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name, Written

Severity = Literal["critical", "high", "warning", "info"]


class Alert(Written):
    as_: str
    severity: Severity
    channels: Annotated[list[Name], Field(min_length=1)]
    within: Duration | None = None


class Row(Written):
    """One failure. A limit that is not given is not judged; `variable` is measured, not judged beyond `give-up`."""

    title: str
    detection: Duration | Literal["immediate"] | None = None
    recovery: Duration | Literal["variable"] | None = None
    manual_action: str = "none"
    alert: Alert | None = None
    rto: Duration | None = None
    rpo: Duration | None = None


class ResponseMatrix(Written):
    kind: Literal["ResponseMatrix"]
    version: Literal[1]
    immediate: Duration
    give_up: Duration
    rows: dict[Name, Row]

    def limits(self, failure: str) -> Limits:
        """Raises KeyError for an unknown row."""
        row = self.rows[failure]
        return Limits(
            row=failure,
            title=row.title,
            detection=self.immediate if row.detection == "immediate" else row.detection,
            recovery=None if row.recovery == "variable" else row.recovery,
            give_up=self.give_up,
            manual_action=row.manual_action,
            rto=row.rto,
            rpo=row.rpo,
        )


class Limits(Written):
    """A row resolved to numbers: what a plan carries."""

    row: Name
    title: str
    #: None: the document gives no limit
    detection: Duration | None
    recovery: Duration | None
    give_up: Duration
    manual_action: str
    #: of a disaster: how long the business may be away, and how much of its past may be lost
    rto: Duration | None = None
    rpo: Duration | None = None

    @property
    def recovery_or_give_up(self) -> timedelta:
        return self.recovery if self.recovery is not None else self.give_up


Limits.model_rebuild()
