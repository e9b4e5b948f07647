"""What refuses a start though every file is right: too large a blast, the wrong place, something left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from veloz_chaos.core.blackout import UNNAMED, first_within, out_of
from veloz_chaos.core.checking import Written, calls
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.experiment import BlastRadius, FaultCall
from veloz_chaos.core.length import length
from veloz_chaos.core.plan import Plan, PlannedFault
from veloz_chaos.core.survey import Inventory


def blast(radius: BlastRadius, call: FaultCall, count: int, total: int) -> list[str]:
    reasons = []
    if count > radius.count:
        reasons.append(f"{call.kind} would hit {count} targets of {call.on}; blast-radius allows {radius.count}")
    if count * 100 > total * int(radius.percent.rstrip("%")) and not (radius.last_replica and total == 1):
        reasons.append(f"{call.kind} would hit {count} of {total} of {call.on}; blast-radius allows {radius.percent}")
    if call.service and count == total and not radius.last_replica:
        reasons.append(f"{call.kind} would hit the last replica of {call.on}; blast-radius needs last-replica: true")
    return reasons


def guard(
    written: Written, result: Plan, inventory: Inventory, *, at: datetime | None = None, drill: bool = False
) -> list[str]:
    """Tier, identity, permits, approvals, blackouts, leftovers: any of them refuses the start. `at`: when that is to
    be. `drill`: its approvals are checked by whoever runs it."""
    e, environment = written.experiment, written.environment
    reasons = []
    if environment.tier not in e.allowed_on:
        reasons.append(f"{e.name} is allowed on {', '.join(e.allowed_on)}; {environment.name} is {environment.tier}")
    kinds = {call.kind for _, call in calls(e)} | {fault.kind for fault in result.faults}
    permitted = environment.permit.faults
    reasons += [
        f"{environment.name} does not permit {kind}"
        for kind in sorted(kinds)
        if permitted is not None and kind not in permitted
    ]
    reasons += mistaken(environment, inventory)
    if environment.permit.approvals and not drill:
        wanted = f"{environment.permit.approvals} approval{'s'[: environment.permit.approvals > 1]}"
        reasons.append(f"{environment.name} wants {wanted}; make it a drill: veloz-chaos drill plan")
    reasons += _blackout(environment, at, result.longest)
    if environment.tier == "production":
        reasons += [
            f"{f.kind} on {f.on} has no expiry of its own ({f.offer.mechanism}): refused in production"
            for f in result.faults
            if f.held and f.offer.expiry is None
        ]
    names = {fault.on for fault in result.faults}
    return reasons + [
        f"{name}: {text}" for name in sorted(names) for found in inventory.found[name] for text in found.leftovers
    ]


def mistaken(environment: Environment, inventory: Inventory) -> list[str]:
    """Every target that can tell must be in the system that is meant, and one at least must be able to."""
    if not environment.identity:
        return []
    reasons = [f"{name}: whose system that is can't be told: {why}" for name, why in inventory.unidentified.items()]
    for key, meant in environment.identity.items():
        told = inventory.systems.get(key, {})
        if not told and not inventory.unidentified:
            reasons.append(
                f"{environment.name} is known by its {key}, and no target of this experiment can tell one; those in "
                "Kubernetes know kube-system-uid, those in Docker docker-id"
            )
        reasons += [
            f"{name} is not in {environment.name}: its {key} is {value}, and not {meant}"
            for name, value in told.items()
            if value != meant
        ]
    return reasons


def _blackout(environment: Environment, at: datetime | None, longest: timedelta) -> list[str]:
    if not environment.blackouts:
        return []
    if at is None:
        return [f"{environment.name} has blackouts, and nobody says when this would start"]
    end, name = out_of(environment.blackouts, UNNAMED, at)
    if end is None:
        return [f"{environment.name} is in the blackout {name}; it never ends: the blackouts leave no time to start"]
    if name:
        return [f"{environment.name} is in the blackout {name} until {end:%Y-%m-%d %H:%M} UTC; start it then"]
    if following := first_within(environment.blackouts, UNNAMED, at, at + longest):
        begins, name = following
        over, _ = out_of(environment.blackouts, UNNAMED, begins)
        return [
            f"{environment.name}: this may last {length(longest)}, and the blackout {name} begins at "
            f"{begins:%Y-%m-%d %H:%M} UTC; {_when_over(over)}"
        ]
    return []


def _when_over(over: datetime | None) -> str:
    return f"start it when that is over, at {over:%Y-%m-%d %H:%M} UTC" if over else "it never ends; start it earlier"


def warnings(faults: Sequence[PlannedFault]) -> list[str]:
    found = [
        f"{f.kind} on {f.on}: no expiry; if this machine dies, only `revert` ends it"
        for f in faults
        if f.held and f.offer.expiry is None
    ]
    found += [f"{f.kind} on {f.on}: for good; only on-abort's procedure mends it" for f in faults if f.irreversible]
    found += [f"{f.kind} on {f.on}: emulated" for f in faults if f.offer.emulated]
    return found + [f"{f.kind} on {f.on} stands in for {f.models}" for f in faults if f.models]
