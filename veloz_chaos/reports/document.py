"""What `--json` prints. Lengths are seconds as [at least, at most], instants are seconds since the run started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from veloz_chaos import errors
from veloz_chaos.core.alert_chain import STRENGTHS, Chain
from veloz_chaos.core.audit import Audit
from veloz_chaos.core.case import as_json
from veloz_chaos.core.interval import SECOND, Interval
from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.plan import Plan


def document(
    runs: Sequence[dict[str, Any]], exit_code: int, version: str, repeats: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """`repeats` only where runs were repeated: what those of each experiment prove together."""
    several = {"repeats": list(repeats)} if repeats else {}
    return {"tool": "veloz-chaos", "version": version, "runs": list(runs), **several, "exit_code": exit_code}


def run(judgement: Judgement, plan: Plan, folder: str, started: int) -> dict[str, Any]:
    """One run. `started` is its first event's instant, in boot-time ns."""
    return {
        "run": judgement.run,
        "folder": folder,
        "experiment": plan.experiment,
        "environment": plan.environment,
        "verdict": judgement.verdict,
        "exit_code": judgement.exit_code,
        "reasons": list(judgement.reasons),
        "findings": [finding.as_json() for finding in judgement.findings],
        "measurement": measurement(judgement.measurement, started)
        | {"phases": {name: phase.as_json() for name, phase in judgement.flow.phases.items()}}
        | {"alert": judgement.chain and alert(judgement.chain, started)},
        "orders": orders(judgement.flow.audit, started),
        "plan": plan.model_dump(mode="json", by_alias=True),
    }


def no_run(experiment: str, environment: str, exit_code: int, reasons: Sequence[str]) -> dict[str, Any]:
    """What never became a run: a refusal or an invalid file."""
    return {
        "run": None,
        "folder": None,
        "experiment": experiment,
        "environment": environment,
        "verdict": errors.no_run(exit_code),
        "exit_code": exit_code,
        "reasons": list(reasons),
        "findings": [],
        "measurement": None,
        "orders": None,
        "plan": None,
    }


def measurement(m: Measurement, started: int) -> dict[str, Any]:
    instants = {
        "began": m.began,
        "ended": m.ended,
        "detection": m.detection,
        "impact": m.impact,
        "recovery": m.recovery,
    }
    lengths = {
        "time_to_detect": m.time_to_detect,
        "time_to_detect_from_impact": m.time_to_detect_from_impact,
        "time_to_impact": m.time_to_impact,
        "time_to_recover": m.time_to_recover,
    }
    return {
        "in_place": m.in_place,
        **{name: _instant(instant, started) for name, instant in instants.items()},
        **{name: length and length.as_json() for name, length in lengths.items()},
        "signals": {s.name: _instant(s.at, started) for s in m.signals},
        "relapses": m.relapses,
        "ended_early": m.early or None,
        "watched": round((m.end - started) / SECOND, 6),
    }


def alert(chain: Chain, started: int) -> dict[str, Any]:
    """When each step of its way was seen; null if it was not."""
    steps = {name: getattr(chain, name) for name in ("pending", "firing", "received", "resolved")}
    told = {name: dict(getattr(chain, name)) for name in STRENGTHS}
    return {
        **{name: step and _instant(step.at, started) for name, step in steps.items()},
        **{how: {name: _instant(step.at, started) for name, step in found.items()} for how, found in told.items()},
        "severities": sorted(chain.severities),
        "muted": list(chain.muted),
        "noise": {name: _instant(step.at, started) for name, step in chain.noise.items()},
    }


def orders(audit: Audit | None, started: int) -> dict[str, Any] | None:
    """How many met which fate, and the history of the first of each; None without a workload."""
    if audit is None:
        return None
    fates = {
        category: {"count": audit.count(category), "first": [as_json(case, started) for case in cases]}
        for category, cases in audit.cases.items()
    }
    told = {"accepted": audit.accepted, "refused": audit.refused, "unknown": audit.unknown}
    return {"inconclusive": audit.why or None, **told, "fates": fates}


def _instant(instant: Interval | None, started: int) -> dict[str, Any] | None:
    if instant is None:
        return None
    return Interval(instant.at_least - started, instant.at_most - started).as_json()
