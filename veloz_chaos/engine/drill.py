"""A drill's plan made, approved by signatures, and checked before its run: the effects of `core/drill.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from veloz_chaos.core import drill
from veloz_chaos.core import event as ev
from veloz_chaos.core.approval import Approval, same_person
from veloz_chaos.core.drill import Asked, DrillFile, DrillPlan, Window
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine import files, signing
from veloz_chaos.engine.clock import moment
from veloz_chaos.errors import UsageError

if TYPE_CHECKING:
    from veloz_chaos.engine.conduct import Request


@dataclass(frozen=True)
class Drill:
    """One that is to be run, for the run's request."""

    file: DrillFile
    #: who runs it
    person: str
    #: how long a go is waited for before each strike; None: nobody is asked
    go: timedelta | None

    def objections(self, made: Plan | None) -> list[str]:
        """Every reason why it may not begin; `made` is the plan as it would be made now, None if there is none."""
        file, now = self.file, datetime.now(UTC)
        reasons = [*file.problems, *drill.outside(file.plan.window, now)]
        if made is not None:
            again = plan_of(file.plan.asked, made, file.plan.executor, file.plan.roles, file.plan.window)
            reasons += drill.differences(file.plan, again)
        keys = [signing.key_of(one.signature) for one in file.approvals]
        return reasons + drill.unapproved(file, self._forged(), self.person, keys, now)

    def _forged(self) -> dict[int, str]:
        signers = Path(self.file.plan.signers)
        found = {}
        for n, one in enumerate(self.file.approvals):
            if why := unsigned(one, signers):
                found[n] = why
        return found

    def event(self) -> ev.RunApproved:
        file = self.file
        return ev.RunApproved(
            sha256=file.digest,
            document=file.line,
            executor=file.plan.executor,
            person=self.person,
            needed=file.plan.approvals,
            approvals=list(file.approvals),
            **moment(),
        )


def unsigned(one: Approval, signers: Path, at: str = "") -> str:
    """Why its signature does not stand for it, by the allowed signers; empty if it does."""
    if not signers.is_file():
        return f"can't be checked: there is no file {signers}"
    if why := signing.verify(one.statement, one.signature, signers, one.by, at):
        whose = signing.signer(one.signature, signers)
        hint = f"; the key is {whose}'s" if whose and whose != one.by else ""
        return f"is not signed by {one.by}{hint} ({why})"
    return ""


def plan_of(asked: Asked, made: Plan, executor: str, roles: Mapping[str, str], window: Window) -> DrillPlan:
    """Raises UsageError or InvalidFile."""
    place = Path(asked.environment)
    written, _ = files.written(Path(asked.experiment), place, asked.settings)
    permit = written.environment.permit
    signers = place.parent / permit.signers if permit.signers else None
    if permit.approvals and (signers is None or not signers.is_file()):
        named = f"there is no file {signers}" if signers else "it does not say permit.signers"
        raise UsageError(f"{place} wants {permit.approvals} approvals, but {named}; name a file of allowed signers")
    radius = written.experiment.blast_radius
    last = "" if radius.last_replica else ", never the last replica"
    return drill.made(
        asked,
        made,
        executor=executor,
        roles=roles,
        approvals=permit.approvals,
        signers=str(signers or ""),
        signers_sha256=sha256(signers.read_bytes()).hexdigest() if signers and signers.is_file() else "",
        window=window,
        radius=f"allowed: {radius.count} of a service or link, {radius.percent}{last}",
    )


def roleless(made: Plan, roles: Mapping[str, str]) -> list[str]:
    """Roles that manual steps name and nobody has."""
    wanted = dict.fromkeys(step.manual.by for step in made.steps if step.manual is not None)
    return [role for role in wanted if role not in roles]


def request_of(file: DrillFile, runs: Path) -> Request:
    from veloz_chaos.engine.conduct import Request

    asked = file.plan.asked
    return Request(Path(asked.experiment), Path(asked.environment), asked.settings, asked.seed, runs=runs)


def approve(path: Path, key: Path, by: str, until: str) -> Approval:
    """Sign it, and add that to the file. Raises UsageError."""
    file = load(path)
    if file.problems:
        raise UsageError(f"{path}: " + "; ".join(file.problems))
    if same_person(by, file.plan.executor):
        raise UsageError(f"{by} executes this drill; somebody else has to approve it")
    if not by.strip() or not by.isprintable():
        raise UsageError("--by is the name that the allowed signers give the person, on one line")
    bare = Approval(plan=file.digest, by=by, until=until)
    made = bare.model_copy(update={"signature": signing.sign(bare.statement, key)})
    save(path, path.read_text(encoding="utf-8") + drill.canonical(made.model_dump(mode="json")) + "\n")
    return made


def load(path: Path) -> DrillFile:
    """Raises UsageError."""
    try:
        return drill.read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def save(path: Path, text: str) -> None:
    """At once. Raises UsageError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.rename(path)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from None
