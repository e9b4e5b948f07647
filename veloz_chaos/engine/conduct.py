"""A run from its files to its judgement: lock, survey, plan, guard, journal, guardian, run, judge."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from veloz_chaos import __version__
from veloz_chaos.core import event as ev
from veloz_chaos.core.checking import Written
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.history import History, of
from veloz_chaos.core.plan import Occasion, Plan
from veloz_chaos.core.planning import Choices, lock_key, plan, struck, wanted
from veloz_chaos.core.vocabulary import Vocabulary
from veloz_chaos.engine import files, lock, rights
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.clock import moment
from veloz_chaos.engine.execute import execute
from veloz_chaos.engine.guardian import Guardian
from veloz_chaos.engine.hand import Backends
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.run import Run
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.engine.survey import survey
from veloz_chaos.engine.telling import telling
from veloz_chaos.engine.workload import Workload
from veloz_chaos.errors import InvalidFile, Refused
from veloz_chaos.mechanisms import proc
from veloz_chaos.mechanisms.haste import haste

#: So long may the guardian need for what a broken runner left. Seconds.
_GUARDIAN_WORKS = 60.0


if TYPE_CHECKING:
    from veloz_chaos.core.judge import Judgement
    from veloz_chaos.engine.drill import Drill
    from veloz_chaos.engine.mirror import Mirror
    from veloz_chaos.mechanisms.kube_lease import Lease
    from veloz_chaos.mechanisms.kube_rights import Right


class Registry(Vocabulary, Backends, Protocol):
    """Everything that can be named."""


@dataclass(frozen=True)
class Request:
    """What somebody asks for on the command line."""

    experiment: Path
    environment: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    placebo: bool = False
    runs: Path = Path("runs")
    occasion: Occasion | None = None
    drill: Drill | None = None
    #: when it is to start; otherwise now
    at: datetime | None = None


@dataclass(frozen=True)
class Result:
    judgement: Judgement
    folder: Path
    history: History
    #: what could not be tidied up, and what then to do; who could not be told
    note: str = ""


def planned(request: Request, registry: Registry, *, drill: bool = False) -> Plan:
    """Look, touch nothing. Raises InvalidFile or Refused with every reason at once. `drill`: to be approved yet."""
    written, parameters = files.written(request.experiment, request.environment, request.settings)
    return _plan(written, parameters, request, registry, drill=drill)


def unallowed(request: Request, registry: Registry, made: Plan) -> list[str]:
    """Why the run of this plan would be refused for what this account may not do in a cluster, and what would help."""
    written, _ = files.written(request.experiment, request.environment, request.settings)
    return rights.refusal(rights.of_plan(made, wanted(written, registry), written.environment, registry))


def _plan(
    written: Written, parameters: Mapping[str, Any], request: Request, registry: Registry, *, drill: bool = False
) -> Plan:
    choices = Choices(
        parameters=parameters,
        seed=request.seed,
        placebo=request.placebo,
        occasion=request.occasion,
        drill=drill,
        at=request.at or datetime.now(UTC),
        sources=files.digests(request.experiment, request.environment),
    )
    asked = wanted(written, registry)
    inventory = survey(asked, registry, identify=bool(written.environment.identity))
    try:
        return plan(written, inventory, registry, choices)
    except (Refused, InvalidFile) as refusal:
        needed = _needed(written, request, registry)
        file = isinstance(refusal, InvalidFile)  # it stays that, unless the account may not see what it means
        told = rights.places((one for one in asked if one.name in inventory.missing), registry)
        help_ = rights.refusal(needed, {one.place for one in needed} if file else told)
        if not help_:
            raise
        raise Refused("\n".join([str(refusal), *help_])) from None


def _needed(written: Written, request: Request, registry: Registry) -> list[Right]:
    """Of clusters, as far as it is known before anything was looked for."""
    asked = wanted(written, registry)
    acts = rights.to_act(asked, [] if request.placebo else struck(written, registry), registry)
    return [*rights.to_look(asked, written.environment, registry), *acts]


def conduct(request: Request, registry: Registry, observe: Callable[[ev.Event], None] = lambda _: None) -> Result:
    """One run. `observe` sees every event as it is written. Raises errors.Error for what never became a run."""
    written, parameters = files.written(request.experiment, request.environment, request.settings)
    run_id = os.urandom(4).hex()
    needed = partial(_needed, written, request, registry)
    with _locked(written.environment, run_id, request.runs, needed) as (held, lease):
        refuse_leftovers(request.runs, lock_key(written.environment))
        _refuse_mirrored(written.environment, request.environment)
        made = _approved(written, parameters, request, registry)
        if reasons := unallowed(request, registry, made):
            raise Refused("\n".join(reasons))
        mirror = _mirror(made, run_id)
        folder = request.runs / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{made.experiment}-{run_id}"
        history = History()
        others = telling(written.environment.tell)

        def both(event: ev.Event) -> None:
            history.add(event)
            if mirror is not None:
                mirror.note(event)
            if others is not None:
                others.note(event)
            observe(event)

        with _journal(folder, both) as (journal, secrets):
            guardian = _run(made, run_id, registry, journal, secrets, history, held, lease, mirror, request.drill)
        if guardian is not None and history.runner_failed:
            guardian.await_end(_GUARDIAN_WORKS)
            history = of(journals.read(folder))
        note = mirror.close() if mirror is not None else ""
    from veloz_chaos.core.judge import judge  # not before the run: its start is what an incident waits for
    from veloz_chaos.engine import order_history

    judgement = judge(history, orders=order_history.beside(folder, history))
    if history.ended is not None:
        _keep(judgement, folder)
    notes = [note, *(others.end(history, judgement) if others is not None else [])]
    return Result(judgement, folder, history, "\n".join(filter(None, notes)))


def _approved(written: Written, parameters: Mapping[str, Any], request: Request, registry: Registry) -> Plan:
    """Of a drill all that speaks against it, whether of the world or of its approvals. Raises Refused."""
    if request.drill is None:
        return _plan(written, parameters, request, registry)
    try:
        made = _plan(written, parameters, request, registry, drill=True)
    except Refused as refusal:
        raise Refused("\n".join([*request.drill.objections(None), str(refusal)])) from None
    if reasons := request.drill.objections(made):
        raise Refused("\n".join(reasons))
    return made


def _keep(judgement: Judgement, folder: Path) -> None:
    """The journal's last line. If it can't be written nothing is lost: whoever asks judges again."""
    from veloz_chaos.core.told import told

    with suppress(OSError):
        journal = Journal.reopen(folder, wait=False)
        try:
            journal.append(ev.RunJudged(**told(judgement), **moment()))
        finally:
            journal.close()


@contextmanager
def _locked(
    environment: Environment, run_id: str, runs: Path, needed: Callable[[], list[Right]]
) -> Iterator[tuple[int, Lease | None]]:
    """On this machine, and in the cluster that the environment names. Raises Refused with the holder's name, or, where
    the account may not have the lease, with the Roles that grant all that is `needed`."""
    with ExitStack() as locks:
        mine = f"run {run_id} (pid {os.getpid()} on {socket.gethostname()})"
        end = shlex.join(["veloz-chaos", "abort", run_id, "--runs", str(runs.absolute())])
        held = locks.enter_context(lock.held(lock_key(environment), mine, end))
        if environment.kubernetes is None:
            yield held, None
            return
        from veloz_chaos.engine import cluster

        name = cluster.holder(f"run {run_id}", socket.gethostname())
        try:
            lease = locks.enter_context(cluster.leased(environment.kubernetes, name))
        except Refused as refusal:
            if not cluster.forbidden(refusal):
                raise
            raise Refused("\n".join([str(refusal), *rights.refusal(needed())])) from None
        yield held, lease


def _refuse_mirrored(environment: Environment, file: Path) -> None:
    """The same of a run on another machine, if the environment says where such are told of."""
    if environment.kubernetes is not None and environment.kubernetes.mirror is not None:
        from veloz_chaos.engine import mirror

        mirror.refuse_left(environment.kubernetes, environment.name, file)


def _mirror(made: Plan, run_id: str) -> Mirror | None:
    if made.placebo or made.cluster is None or made.cluster.mirror is None:
        return None
    from veloz_chaos.engine.mirror import Mirror

    return Mirror(made.cluster, run_id, made.environment)


def refuse_leftovers(runs: Path, key: str) -> None:
    """A run on this environment that holds a fault open, however it ended, refuses the start."""
    for path in sorted(runs.glob(f"*/{journals.FILE}")) if runs.is_dir() else []:
        if journals.ended_clean(path.parent):
            continue
        events = journals.read(path.parent)
        first = events[0] if events else None
        if not isinstance(first, ev.RunStarted) or first.plan.lock != key:
            continue
        if ev.open_faults(events):
            raise Refused(f"an earlier run left a fault open; take it out first: veloz-chaos revert {path.parent}")
        if first.plan.steps and (owed := of(events).owed):
            raise Refused(f"an earlier run still owes `{owed.procedure}`; run it by: veloz-chaos revert {path.parent}")


@contextmanager
def _journal(folder: Path, observe: Callable[[ev.Event], None]) -> Iterator[tuple[Journal, Secrets]]:
    secrets = Secrets()
    try:
        journal = Journal.create(folder, secrets, observe)
    except OSError as error:
        raise Refused(
            f"no journal can be written to {folder}: {error.strerror}; choose another place with --runs"
        ) from None
    try:
        yield journal, secrets
    finally:
        journal.close()


def _run(
    made: Plan,
    run_id: str,
    registry: Registry,
    journal: Journal,
    secrets: Secrets,
    history: History,
    held: int,
    lease: Lease | None,
    mirror: Mirror | None,
    drill: Drill | None,
) -> Guardian | None:
    try:
        journal.append(_started(made, run_id), sync=True)
        if drill is not None:
            journal.append(drill.event(), sync=True)
    except OSError as error:
        raise Refused(f"no journal can be written to {journal.folder}: {error.strerror or error}") from None
    guardian = None if made.placebo else Guardian.start(journal.folder, held)
    workload = Workload.start(made, run_id, journal.folder, held)
    try:
        if guardian is not None:
            pid = ev.GuardianStarted(pid=guardian.pid, pid_start=proc.start_time(guardian.pid), **moment())
            journal.append(pid)
        with haste():
            run = Run(made, run_id, registry, journal, secrets, guardian, history, workload=workload)
            run.lease, run.mirror, run.go = lease, mirror, drill.go if drill is not None else None
            asyncio.run(execute(run))
    except Exception as error:  # noqa: BLE001  # one of two places: our own bug becomes an event, and the guardian reverts
        _bug(error, journal)
    finally:
        if guardian is not None:
            guardian.dismiss()
        if workload is not None:
            workload.dismiss()
    return guardian


def _bug(error: Exception, journal: Journal) -> None:
    import traceback

    (journal.folder / "bug.txt").write_text("".join(traceback.format_exception(error)))
    journal.append(ev.RunnerFailed(error=f"{type(error).__name__}: {error}", **moment()))


def _started(made: Plan, run_id: str) -> ev.RunStarted:
    return ev.RunStarted(
        run=run_id,
        version=__version__,
        boot_id=proc.boot_id(),
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_start=proc.start_time(os.getpid()),
        plan=made,
        **moment(),
    )
