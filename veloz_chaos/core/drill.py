"""A drill's plan as people approve it: one line of canonical JSON, and its SHA-256.

The file has that line, and an approval on each line that follows. A plan is not trusted: whoever runs it plans again,
and both must be the same, word for word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from veloz_chaos.core.approval import Approval, same_person
from veloz_chaos.core.length import length
from veloz_chaos.core.loss import objective
from veloz_chaos.core.model import Written
from veloz_chaos.core.plan import Plan, PlannedFault

#: Differences told of at once.
_MOST = 12
_LONGEST = 60


class Window(Written):
    """Instants in ISO 8601, in UTC; an empty one is open."""

    from_: str = ""
    to: str = ""


class Asked(Written):
    """What the plan was made from: enough to make it again."""

    experiment: str
    environment: str
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0


class DrillPlan(Written):
    kind: Literal["DrillPlan"] = "DrillPlan"
    version: Literal[1] = 1
    asked: Asked
    executor: str
    #: what a person is in the drill -> who that is
    roles: dict[str, str] = Field(default_factory=dict)
    approvals: int
    #: the allowed signers' file, and its SHA-256
    signers: str = ""
    signers_sha256: str = ""
    window: Window
    #: for whoever approves it: the same as in the plan, in words
    targets: list[str]
    blast_radius: list[str]
    undo: list[str]
    impact: list[str]
    abort: list[str]
    plan: Plan


class DrillFile(NamedTuple):
    plan: DrillPlan
    #: the first line, as it stands in the file
    line: str
    approvals: Sequence[Approval]
    #: what no approval could be made of, one sentence each
    problems: Sequence[str]

    @property
    def digest(self) -> str:
        return digest(self.line)


def made(
    asked: Asked,
    plan: Plan,
    *,
    executor: str,
    roles: Mapping[str, str],
    approvals: int,
    signers: str,
    signers_sha256: str,
    window: Window,
    radius: str,
) -> DrillPlan:
    """`radius`: what the experiment allows itself at most."""
    faults = plan.faults
    return DrillPlan(
        asked=asked,
        executor=executor,
        roles=dict(roles),
        approvals=approvals,
        signers=signers,
        signers_sha256=signers_sha256,
        window=window,
        targets=[f"{f.kind} on {f.on}: {f.reference}" for f in faults],
        blast_radius=[f"{f.kind} on {f.on}: {f.offer.touches}; {_held(f)}" for f in faults] + [radius],
        undo=[f"{f.kind} on {f.on}: {_undo(f, plan)}" for f in faults],
        impact=list(_impact(plan)),
        abort=[f"{name} is shown" for name in plan.abort_when] + ["Ctrl-C, SIGTERM, or `veloz-chaos abort`"],
        plan=plan,
    )


def _held(fault: PlannedFault) -> str:
    return f"for at most {length(fault.hold.at_most)}" if fault.hold is not None else "strikes once"


def _undo(fault: PlannedFault, plan: Plan) -> str:
    if fault.irreversible:
        return f"only {plan.on_abort.procedure} mends it" if plan.on_abort else "nothing"
    expiry = f"; by itself: {fault.offer.expiry}" if fault.held and fault.offer.expiry else ""
    return fault.offer.undo + expiry


def _impact(plan: Plan) -> Iterator[str]:
    if isinstance(plan.impact, list):
        yield from plan.impact
    else:
        yield "none" if plan.impact == "none" else "the steady state breaks: " + ", ".join(plan.steady_state)
    if plan.limits.recovery is not None:
        yield f"over within {length(plan.limits.recovery)}"
    for name, measure in plan.measures.items():
        if (limit := objective(name, measure, plan)) is not None:
            yield f"{name.upper()} {length(limit)}"


# --- the file ------------------------------------------------------------------------------------------------------


def canonical(data: Any) -> str:
    """The same text for the same data."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def line_of(plan: DrillPlan) -> str:
    return canonical(plan.model_dump(mode="json", by_alias=True))


def digest(line: str) -> str:
    return sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


def read(text: str) -> DrillFile:
    """Raises ValueError for what is no drill's plan."""
    line, *rest = text.split("\n")
    try:
        plan = DrillPlan.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"is no plan of a drill: {where + ': ' if where else ''}{first['msg']}") from None
    approvals, problems = [], []
    for number, other in enumerate(rest, start=2):
        if not other:
            continue
        try:
            approvals.append(Approval.model_validate_json(other))
        except ValidationError:
            problems.append(f"line {number} is no approval; take it out")
    if line != line_of(plan):
        problems.append("its first line is not as `drill plan` wrote it; it was changed")
    return DrillFile(plan, line, approvals, problems)


# --- who confirms ---------------------------------------------------------------------------------------------------


def roles_of(document: str) -> Mapping[str, str]:
    """Of a plan as it stands in a journal; none where it can't be read."""
    try:
        roles = json.loads(document)["roles"]
    except (ValueError, KeyError, TypeError):
        return {}
    return roles if isinstance(roles, dict) else {}


def instead(plan: Plan, roles: Mapping[str, str], step: str, by: str) -> str:
    """Who was to confirm a manual step that somebody else confirms; empty if nobody was, or it is that person."""
    manual = next((one.manual for one in plan.steps if one.name == step), None)
    person = str(roles.get(manual.by, "")) if manual is not None else ""
    return "" if not person or same_person(person, by) else person


# --- whether it may be run -----------------------------------------------------------------------------------------


def differences(signed: DrillPlan, now: DrillPlan) -> list[str]:
    """Where a plan made now is another, by its place: one sentence each."""
    before, after = (plan.model_dump(mode="json", by_alias=True) for plan in (signed, now))
    found = list(_differences(before, after, ""))
    return found[:_MOST] + ([f"and {len(found) - _MOST} more"] if len(found) > _MOST else [])


def _differences(before: Any, after: Any, place: str) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{place}[{n}]")
    else:
        yield f"the world is not as planned: {place} was {_short(before)}, is {_short(after)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else canonical(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def outside(window: Window, now: datetime) -> list[str]:
    if window.from_ and now < datetime.fromisoformat(window.from_):
        return [f"its window begins only at {window.from_}; it is {instant(now)}"]
    if window.to and now >= datetime.fromisoformat(window.to):
        return [f"its window ended at {window.to}; it is {instant(now)}; plan it again"]
    return []


def unapproved(
    file: DrillFile, forged: Mapping[int, str], person: str, keys: Sequence[str], now: datetime
) -> list[str]:
    """What is missing. `forged`: index of an approval -> what is wrong with its signature; `person`: who runs it;
    `keys`: of each approval. An approval that does not hold refuses the drill, even if others would do."""
    reasons: list[str] = []
    good: list[tuple[str, str]] = []
    for n, one in enumerate(file.approvals):
        if why := _flaw(one, file, person, now) or forged.get(n, ""):
            reasons.append(f"the approval by {one.by}: {why}")
        elif not any(same_person(one.by, by) or keys[n] == key for by, key in good):
            good.append((one.by, keys[n]))
    if len(good) < file.plan.approvals:
        wanted = f"{file.plan.approvals} approval{'s by different people' if file.plan.approvals > 1 else ''}"
        reasons.append(f"it needs {wanted}; {len(good) or 'none'} of them is here: veloz-chaos drill approve")
    return reasons


def _flaw(one: Approval, file: DrillFile, person: str, now: datetime) -> str:
    if one.plan != file.digest:
        return f"is of another plan ({one.plan[:12]}…, this one is {file.digest[:12]}…)"
    for executor in (file.plan.executor, person):
        if same_person(one.by, executor):
            return "is the executor's own; somebody else has to approve"
    if one.until:
        try:
            ended = now >= datetime.fromisoformat(one.until)
        except (ValueError, TypeError):
            return f"`{one.until}` is no instant"
        if ended:
            return f"expired at {one.until}; it is {instant(now)}"
    return ""


def instant(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")
