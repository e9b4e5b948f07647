"""A judgement as a reader wants it: the table, why what did not pass did not, one closing line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import replace

from veloz_chaos.core.alert_chain import STRENGTHS, Chain, Step
from veloz_chaos.core.alerts import UNREAD
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.judge import Finding, Judgement
from veloz_chaos.core.length import interval, length
from veloz_chaos.core.phases import Phase
from veloz_chaos.core.plan import Plan
from veloz_chaos.core.told import summary
from veloz_chaos.reports.table import table

_NOTHING_TO_DO = "none"
#: Journal lines named in one finding.
_ENTRIES = 4


def report(judgement: Judgement, plan: Plan, folder: str, width: int = 80) -> list[str]:
    """All lines, the closing one last. Of a run that was stopped before it hurt anything only that is told."""
    if judgement.reasons and not judgement.measurement.in_place:
        judgement = replace(judgement, findings=())
    lines = findings_table(judgement, plan, width) if judgement.findings else []
    lines += phases_table(judgement, width)
    lines += alert_table(judgement, width)
    lines += reasons(judgement, folder, width)
    lines += manual_action(judgement, plan, width)
    lines += unread(judgement, plan, width)
    return [*lines, *([""] if lines else []), closing(judgement, plan, folder)]


def findings_table(judgement: Judgement, plan: Plan, width: int = 80) -> list[str]:
    rows = [[f.expectation, interval(f.measured), _limit(f, plan), f.verdict] for f in judgement.findings]
    return table(["expectation", "measured", "limit", "verdict"], rows, width)


def phases_table(judgement: Judgement, width: int = 80) -> list[str]:
    """What the order flow went through, if there was one."""
    rows = [[name, *_flow(phase)] for name, phase in judgement.flow.phases.items()]
    columns = ["orders", "accepted", "not accepted", "p50", "p99", "longest gap"]
    return ["", *table(columns, rows, width)] if rows else []


def alert_table(judgement: Judgement, width: int = 80) -> list[str]:
    """Where the time of an alert went."""
    chain, began = judgement.chain, judgement.measurement.began
    if chain is None or began is None or (chain.pending is None and chain.received is None):
        return []
    rows, before = [], began
    for name, step in _way(chain):
        rows.append([name, interval(step.at.since(began)), interval(step.at.since(before))])
        before = step.at
    return ["", *table(["alert", "after the fault", "after the step before"], rows, width)]


def _way(chain: Chain) -> Iterator[tuple[str, Step]]:
    """The steps that were seen; of each channel the strongest proof."""
    told = {c: (how, step) for how in STRENGTHS for c, step in getattr(chain, how).items()}
    steps: list[tuple[str, Step | None]] = [
        ("pending", chain.pending),
        ("firing (the rule's `for`)", chain.firing),
        ("received", chain.received),
        *((f"{how} to {channel}", step) for channel, (how, step) in told.items()),
        ("resolved", chain.resolved),
    ]
    yield from ((name, step) for name, step in steps if step is not None)


def _flow(phase: Phase) -> list[str]:
    errors = ", ".join(f"{count} × {kind}" for kind, count in phase.errors.items())
    times = [length(round(phase.latency[point] * SECOND)) if phase.latency else "—" for point in ("p50", "p99")]
    return [f"{phase.rate:.3g}/s", errors or "none", *times, length(round(phase.longest_gap * SECOND))]


def _limit(finding: Finding, plan: Plan) -> str:
    if finding.limit is None:
        return "—"
    variable = finding.expectation == "recovery" and plan.limits.recovery is None
    return f"variable, {length(finding.limit)}" if variable else length(finding.limit)


def reasons(judgement: Judgement, folder: str, width: int = 80) -> list[str]:
    """What stopped the run, then each expectation that did not pass, with its journal entries."""
    lines: list[str] = []
    for text in judgement.reasons:
        lines += ["", *wrapped(text, width)]
    for finding in judgement.findings:
        if finding.verdict != "passed":
            lines += ["", *wrapped(f"{finding.verdict}: {finding.expectation}: {finding.reason}", width)]
            lines += [f"  {place}" for place in places(finding, folder)]
    return lines


def places(finding: Finding, folder: str) -> Iterator[str]:
    """`runs/…/journal.jsonl:123`"""
    for entry in finding.entries[:_ENTRIES]:
        yield f"{folder}/journal.jsonl:{entry}"


def manual_action(judgement: Judgement, plan: Plan, width: int = 80) -> list[str]:
    """What the matrix wants a person to do after this failure."""
    action = plan.limits.manual_action
    if action == _NOTHING_TO_DO or judgement.verdict == "refused" or plan.placebo:
        return []
    return ["", *wrapped(f"manual action after {plan.limits.title}: {action}", width)]


def unread(judgement: Judgement, plan: Plan, width: int = 80) -> list[str]:
    """What an experiment expects, and a verdict says nothing of."""
    told = [warning for warning in plan.warnings if warning.startswith(UNREAD) and judgement.findings]
    return [line for warning in told for line in ("", *wrapped(f"note: {warning}", width))]


def closing(judgement: Judgement, plan: Plan, folder: str) -> str:
    """`FAILED engine-crash on sandbox: detection took at least 6.2 s, the limit is 5 s — evidence runs/…`"""
    what = f"{judgement.verdict.upper()} {plan.experiment} on {plan.environment}"
    placebo = " (placebo)" if plan.placebo else ""
    said = summary(judgement)
    return f"{what}{placebo}{': ' + said if said else ''} — evidence {folder}"


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
