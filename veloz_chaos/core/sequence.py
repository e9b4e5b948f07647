"""What can be found wrong with an experiment's steps, alone and beside its environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from veloz_chaos.core.document import Document
from veloz_chaos.core.environment import Environment
from veloz_chaos.core.experiment import Experiment, Step, UntilDecided, names_in
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.vocabulary import Vocabulary
from veloz_chaos.core.window import WINDOWS
from veloz_chaos.errors import Problem

Path = tuple[str | int, ...]
Complain = Callable[[Path, str, str], Problem]
#: Arguments that name a part of the target: faults on different parts don't meet.
PARTS = ("path", "names", "volume")


def problems(e: Experiment, file: Document, matrix: ResponseMatrix, known: Vocabulary) -> Iterator[Problem]:
    """Without an environment."""
    if e.steps is None:
        for key in ("measure", "on_abort", "irreversible"):
            if getattr(e, key):
                yield file.problem((key.replace("_", "-"),), f"`{key.replace('_', '-')}` goes with `steps`", "")
    else:
        yield from _names(e.steps, file)
        yield from _faults(e, e.steps, file, known)
        yield from _measures(e, e.steps, file)
        yield from _of_drills_only(e, e.steps, file)
    yield from _objectives(e, file, matrix)


def _names(steps: list[Step], file: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    for n, step in enumerate(steps):
        if step.name in seen or step.name in WINDOWS:
            what = "is the name of a window" if step.name in WINDOWS else "is the name of an earlier step"
            yield file.problem(("steps", n, "name"), f"`{step.name}` {what}", "give it a name of its own")
        seen.add(step.name)
        if step.within is not None and (step.wait is not None or step.manual is not None):
            kind = "wait" if step.wait is not None else "manual"
            yield file.problem(("steps", n, "within"), f"a `{kind}` says itself how long", "leave `within` out")
        if step.drills_only and step.manual is None:
            yield file.problem(("steps", n, "drills-only"), "only a manual step can be left to drills", "leave it out")


def taken(e: Experiment, *, drill: bool) -> list[tuple[int, Step]]:
    """The steps of a run, each with its place in the file."""
    return [(n, step) for n, step in enumerate(e.steps or ()) if drill or not step.drills_only]


def left_out(e: Experiment, *, drill: bool) -> list[str]:
    """What a plan tells of steps that it has not."""
    return [
        f"step {step.name} is left out: only a drill asks {step.manual.by}"
        for step in e.steps or ()
        if step.drills_only and step.manual is not None and not drill
    ]


def _of_drills_only(e: Experiment, steps: list[Step], file: Document) -> Iterator[Problem]:
    """What only drills have, nothing else may depend on."""
    only = {step.name for step in steps if step.drills_only}
    named: list[tuple[Path, str | None]] = [(("expect", "while", window), window) for window in e.expect.while_]
    for name, measure in e.measure.items():
        named += [(("measure", name, "from"), measure.from_), (("measure", name, "to"), measure.to)]
    for place, step in named:
        if step in only:
            yield file.problem(place, f"only drills have the step `{step}`", "name one that every run has")


def _faults(e: Experiment, steps: list[Step], file: Document, known: Vocabulary) -> Iterator[Problem]:
    held: set[str] = set()
    still: dict[tuple[Any, ...], str] = {}  # kind of fault, target, part of it: the step that may hold it
    for n, step in enumerate(steps):
        for name in step.revert or ():
            if name not in held:
                yield file.problem(
                    ("steps", n, "revert"), f"no step before holds anything as `{name}`", did_you_mean(name, held)
                )
            still = {what: holder for what, holder in still.items() if holder != name}
        for k, call in enumerate(step.inject or ()):
            path: Path = ("steps", n, "inject", k, call.kind)
            if isinstance(call.for_, UntilDecided):
                yield file.problem((*path, "for"), "a step holds a fault for a length", "write for: 30s")
            if call.for_ is not None:
                held.add(step.name)
                what = (call.kind, call.on, *(str(call.arguments.get(part)) for part in PARTS))
                if holder := still.get(what):
                    yield file.problem(
                        path,
                        f"`{holder}` may still hold {call.kind} on {call.on}: nobody could tell which of the two ended",
                        f"take that out before it, by a step with revert: [{holder}]",
                    )
                still[what] = step.name
            yield from _irreversible(e, path, call.kind, file, known)


def _irreversible(e: Experiment, path: Path, kind: str, file: Document, known: Vocabulary) -> Iterator[Problem]:
    if not is_irreversible(kind, known):
        return
    if not e.irreversible:
        yield file.problem(path, f"`{kind}` can't be undone", "write irreversible: true, if that is meant")
    if e.on_abort is None:
        yield file.problem(
            path, f"`{kind}` can't be undone", "write on-abort: and the procedure that mends it, whatever happens"
        )


def is_irreversible(kind: str, known: Vocabulary) -> bool:
    try:
        return bool(known.fault(kind).irreversible)
    except KeyError:
        return False


def _measures(e: Experiment, steps: list[Step], file: Document) -> Iterator[Problem]:
    order = [step.name for step in steps]
    for name, measure in e.measure.items():
        named = {"from": measure.from_, "to": measure.to, "at": measure.at}
        unknown = {key: step for key, step in named.items() if step is not None and step not in order}
        for key, step in unknown.items():
            yield file.problem(("measure", name, key), f"there is no step `{step}`", did_you_mean(step, order))
        if unknown:
            continue
        if measure.from_ and measure.to and order.index(measure.from_) >= order.index(measure.to):
            yield file.problem(("measure", name), f"`{measure.to}` does not come after `{measure.from_}`", "")
        if measure.at and steps[order.index(measure.at)].inject is None:
            yield file.problem(("measure", name, "at"), f"`{measure.at}` injects nothing", "name the step that strikes")
        if measure.at and e.workload is None:
            yield file.problem(
                ("measure", name), "what was lost is told by the orders of a workload", "write workload: orders"
            )


def _objectives(e: Experiment, file: Document, matrix: ResponseMatrix) -> Iterator[Problem]:
    """The matrix has the limits; an experiment may ask for more, never for less."""
    row = matrix.rows.get(e.failure)
    for name, objective in e.objectives.items():
        if name not in e.measure:
            yield file.problem(("objectives", name), f"nothing measures `{name}`", did_you_mean(name, e.measure))
        limit = {"rto": row.rto, "rpo": row.rpo}.get(name) if row else None
        if limit is not None and objective > limit:
            yield file.problem(
                ("objectives", name),
                f"the limit of {e.failure} is stricter ({limit.total_seconds():g}s)",
                "an objective can be tighter than the matrix, never looser",
            )


# --- beside its environment ----------------------------------------------------------------------------------------


def probes(e: Experiment) -> Iterator[tuple[Path, str]]:
    """Every probe that the steps name, with its place."""
    for n, step in enumerate(e.steps or ()):
        yield from ((("steps", n, "check", k), name) for k, name in enumerate(step.check or ()))
        clauses = step.until if isinstance(step.until, list) else []
        yield from ((("steps", n, "until", k), name) for k, clause in enumerate(clauses) for name in names_in(clause))


def unknown(e: Experiment, environment: Environment, here: Complain) -> Iterator[Problem]:
    """Procedures, and checks that cannot end in time."""
    named: list[tuple[Path, str | None]] = [(("on-abort",), e.on_abort)]
    named += [(("steps", n, "procedure"), step.procedure) for n, step in enumerate(e.steps or ())]
    for path, name in named:
        if name is not None and name not in environment.procedures:
            yield here(
                path,
                f"environment `{environment.name}` has no procedure `{name}`",
                did_you_mean(name, environment.procedures),
            )
    for n, step in enumerate(e.steps or ()):
        for k, name in enumerate(step.check or ()):
            spec = environment.probes.get(name)
            if spec is not None and step.within is not None and spec.timeout > step.within:
                yield here(
                    ("steps", n, "check", k),
                    f"a look of {name} may take {spec.timeout.total_seconds():g}s, longer than the step",
                    "give it more time with within:",
                )
