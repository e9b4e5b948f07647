"""What others are told of a run, at its start and of its verdict: Grafana, Slack, and whoever takes JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from veloz_chaos.core import event as ev
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.told import summary

TOOL = "veloz-chaos"
#: Characters of a message, findings named in it.
LONGEST, FINDINGS = 2000, 10
_COLOURS = {"passed": "good", "failed": "danger", "left-behind": "danger", "broken": "danger"}


@dataclass(frozen=True)
class Told:
    """A run that starts; with a verdict, one that has ended."""

    event: Literal["run-started", "run-ended"]
    run: str
    experiment: str
    title: str
    environment: str
    tier: str
    host: str
    placebo: bool
    faults: tuple[str, ...]
    #: seconds since 1970
    began: float
    ended: float | None = None
    verdict: str = ""
    exit_code: int | None = None
    #: the one reason that decides
    summary: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def about(self) -> str:
        return f"{self.experiment} on {self.environment}" + (" (placebo)" if self.placebo else "")


def started(event: ev.RunStarted) -> Told:
    plan = event.plan
    return Told(
        "run-started",
        run=event.run,
        experiment=plan.experiment,
        title=plan.title,
        environment=plan.environment,
        tier=plan.tier,
        host=event.host,
        placebo=plan.placebo,
        faults=tuple(f"{fault.kind} on {fault.on}" for fault in plan.faults),
        began=event.wall,
    )


def ended(begun: Told, judgement: Judgement, at: float) -> Told:
    return replace(
        begun,
        event="run-ended",
        ended=at,
        verdict=judgement.verdict,
        exit_code=judgement.exit_code,
        summary=summary(judgement),
        findings=judgement.findings,
    )


def webhook(told: Told) -> dict[str, Any]:
    """Everything, for a machine. Times are seconds since 1970."""
    start = {
        "event": told.event,
        "tool": TOOL,
        "run": told.run,
        "experiment": told.experiment,
        "title": told.title,
        "environment": told.environment,
        "tier": told.tier,
        "host": told.host,
        "placebo": told.placebo,
        "faults": list(told.faults),
        "began": told.began,
    }
    if told.event == "run-started":
        return start
    findings = [{"expectation": f.expectation, "verdict": f.verdict, "reason": f.reason} for f in told.findings]
    end = {"ended": told.ended, "verdict": told.verdict, "exit_code": told.exit_code, "summary": told.summary}
    return start | end | {"findings": findings}


def slack(told: Told) -> dict[str, Any]:
    """A line, and below it the faults or what did not pass."""
    if told.event == "run-started":
        line, below, colour = f"{told.about} starts: {told.title}", list(told.faults), "#808080"
    else:
        line = f"{told.verdict.upper()} {told.about}" + (f": {told.summary}" if told.summary else "")
        below, colour = _unpassed(told.findings), _COLOURS.get(told.verdict, "warning")
    text = "\n".join([*below, f"run {told.run} on {told.host}"])
    attachment = {"color": colour, "text": _escaped(text), "fallback": _escaped(line)}
    return {"text": _escaped(line), "attachments": [attachment]}


def annotation(told: Told, tags: Sequence[str]) -> dict[str, Any]:
    """For Grafana's annotations, in milliseconds: an instant, which the verdict makes a region."""
    own = [TOOL, told.experiment, told.environment, *([told.verdict] if told.verdict else [])]
    lines = [told.about if not told.verdict else f"{told.verdict.upper()} {told.about}", told.summary or told.title]
    made = {
        "time": round(told.began * 1000),
        "tags": list(dict.fromkeys([*own, *tags])),
        "text": _cut("\n".join([*lines, *_unpassed(told.findings), f"run {told.run}"])),
    }
    return made if told.ended is None else made | {"timeEnd": round(told.ended * 1000)}


def _unpassed(findings: Sequence[Finding]) -> list[str]:
    wrong = [f"{f.verdict}: {f.expectation}: {f.reason}" for f in findings if f.verdict != "passed"]
    more = [f"and {len(wrong) - FINDINGS} more"] if len(wrong) > FINDINGS else []
    return wrong[:FINDINGS] + more


def _escaped(text: str) -> str:
    """Slack's three: nothing in it is a link, or mentions anybody."""
    return _cut(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
