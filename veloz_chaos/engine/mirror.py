"""What undoes a run, kept in the cluster: a ConfigMap that another machine reads when this one is gone.

It holds the part of the journal that a revert needs, and is written ahead: before anything is armed, and again, with
every receipt, before anything is injected. It is removed when nothing is left in place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from veloz_chaos.core import event as ev
from veloz_chaos.core.capability import Reference
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.engine.cluster import place, server
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import Missing, Refused, TargetError, Unavailable, UsageError
from veloz_chaos.mechanisms.kube_api import OURS, Json, Place, marked, path, selected

#: Bytes; a ConfigMap may hold a mebibyte.
ROOM = 900_000
KIND, KEY, ENVIRONMENT = "configmaps", "journal.jsonl", "veloz-chaos/environment"
#: Backends whose references say by which context, or which kubeconfig, their cluster is reached.
_IN_CLUSTER = ("kubernetes", "chaos-mesh")
#: So long is a removal tried again while the server does not answer (nanoseconds), so often (seconds).
_PATIENCE, _PAUSE = 10_000_000_000, 1.0


class Mirror:
    """The runner's side. `note` hears every event and costs nothing; `flush` writes."""

    def __init__(self, cluster: Cluster, run: str, environment: str) -> None:
        assert cluster.mirror is not None
        self._cluster, self._run, self._namespace = cluster, run, cluster.mirror.namespace
        self._labels = marked(f"vc-{run}", [(ENVIRONMENT, label(environment))])
        self._lines: list[str] = []
        self._ended: ev.RunEnded | None = None
        self._written = False

    def note(self, event: ev.Event) -> None:
        if isinstance(event, ev.RunStarted | ev.FaultCleared | ev.StepEnded | ev.ProcedureEnded | ev.RunEnded):
            self._lines.append(ev.write(event))
        if isinstance(event, ev.FaultPrepared):  # whether it was injected is not known elsewhere: taken for it
            self._lines += [ev.write(event), ev.write(ev.InjectionBegan(fault=event.fault, **moment()))]
        if isinstance(event, ev.RunEnded):
            self._ended = event

    def flush(self) -> None:
        """Returns when the server has it. Raises Refused: without it nothing may be injected."""
        text = "\n".join(self._lines) + "\n"
        if len(text.encode()) > ROOM:
            raise Refused(f"what undoes this run is larger than a ConfigMap may be ({ROOM} bytes); hit fewer targets")
        name = name_of(self._run)
        about = {"name": name, "namespace": self._namespace, "labels": self._labels}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {KEY: text}}
        try:
            if self._written:
                server(self._cluster).put(path(KIND, self._namespace, name), body)
            else:
                server(self._cluster).post(path(KIND, self._namespace), body)
        except TargetError as error:
            self._written = self._written or isinstance(error, Unavailable)  # it may be there all the same
            raise Refused(f"what undoes this run can't be kept in {self._namespace}: {error}") from error
        self._written = True

    def close(self) -> str:
        """The run is over: remove it, or leave what is left. Says what could not be done, and what then to do."""
        if not self._written or self._ended is None:
            return ""
        if not self._ended.left:
            return remove(self._cluster, self._run)
        with suppress(Refused):
            self.flush()
        return ""


def name_of(run: str) -> str:
    return f"veloz-chaos-{run}"


def label(environment: str) -> str:
    """An environment's name as a label may hold it."""
    fits = re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", environment)
    return environment if fits else sha256(environment.encode()).hexdigest()[:40]


def remove(cluster: Cluster, run: str) -> str:
    """Says what kept it from being removed, and how it is done by hand; empty if it is gone."""
    if cluster.mirror is None:
        return ""
    namespace, deadline = cluster.mirror.namespace, now() + _PATIENCE
    while True:
        try:
            server(cluster).delete(path(KIND, namespace, name_of(run)))
        except Missing:
            return ""
        except TargetError as error:
            if isinstance(error, Unavailable) and now() < deadline:
                time.sleep(_PAUSE)
                continue
            by_hand = f"{place(cluster).words} -n {namespace} delete configmap {name_of(run)}"
            return f"its mirror in the cluster can't be removed: {error}; do it with: {by_hand}"
        return ""


# --- from another machine ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mirrored:
    """A run that somebody left open. `events` are those of its journal that a revert needs."""

    cluster: Cluster
    started: ev.RunStarted
    events: list[ev.Event]

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.started.wall, UTC)
        plan = self.started.plan
        return f"run {self.started.run} of {plan.experiment}, begun {at:%Y-%m-%d %H:%M} UTC on {self.started.host},"

    def bring(self, runs: Path) -> Path:
        """Its folder under `runs`: the one that is there, or one made anew from what was mirrored."""
        there = list(runs.glob(f"*-{self.started.run}/{journals.FILE}"))
        if there:
            return there[0].parent
        at = datetime.fromtimestamp(self.started.wall, UTC)
        runs.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".bringing-", dir=runs) as aside:  # half of it would say that nothing is left
            folder = Path(aside) / f"{at:%Y%m%dT%H%M%SZ}-{self.started.plan.experiment}-{self.started.run}"
            journal = Journal.create(folder, Secrets(), lambda _: None)
            try:
                for event in self.events:
                    journal.append(_seen_from_here(event, self.started.plan.cluster, self.cluster), sync=True)
            finally:
                journal.close()
            return folder.rename(runs / folder.name)


def left(cluster: Cluster, environment: str) -> list[Mirrored]:
    """The runs on the environment that were not closed, the oldest first. Call it as the lease's holder: then none of
    them is under way. Raises TargetError, and UsageError for what this version can't read."""
    if cluster.mirror is None:
        return []
    asked = selected({**OURS, ENVIRONMENT: label(environment)})
    items = server(cluster).listed(path(KIND, cluster.mirror.namespace), labelSelector=asked).items
    return sorted((_read(item, cluster) for item in items), key=lambda one: one.started.wall)


def _read(item: Json, cluster: Cluster) -> Mirrored:
    where = f"ConfigMap {item['metadata']['namespace']}/{item['metadata']['name']}"
    lines = str((item.get("data") or {}).get(KEY, "")).splitlines()
    try:
        events = [ev.read(line) for line in lines]
    except ValidationError as error:
        raise UsageError(f"{where}: not the journal of a run of this version: {error.errors()[0]['msg']}") from None
    if not events or not isinstance(events[0], ev.RunStarted):
        raise UsageError(f"{where}: it does not begin with the start of a run; it was changed")
    return Mirrored(cluster, events[0], events)


def refuse_left(cluster: Cluster, environment: str, file: Path) -> None:
    """A run that nobody closed refuses the start of another, by name."""
    try:
        found = left(cluster, environment)
    except TargetError as error:
        raise Refused(f"whether an earlier run left something can't be told: {error}") from error
    if found:
        raise Refused(
            "\n".join(f"{one} was never closed; take out what it left: veloz-chaos revert -e {file}" for one in found)
        )


def _seen_from_here(event: ev.Event, there: Cluster | None, here: Cluster) -> ev.Event:
    """The same cluster has another context, or another kubeconfig, on another machine."""
    if there is None or place(there) == place(here):
        return event
    if isinstance(event, ev.FaultPrepared):
        return event.model_copy(update={"reference": _reached(event.reference, there, here)})
    if isinstance(event, ev.RunStarted):
        faults = [f.model_copy(update={"reference": _reached(f.reference, there, here)}) for f in event.plan.faults]
        changes: Mapping[str, Any] = {"faults": faults, "cluster": here}
        return event.model_copy(update={"plan": event.plan.model_copy(update=changes)})
    return event


def _reached(reference: Reference, there: Cluster, here: Cluster) -> Reference:
    identity = reference.identity
    if Place(identity.get("context") or None, identity.get("kubeconfig") or None) != place(there):
        return reference
    if not reference.backend.startswith(_IN_CLUSTER):
        return reference
    kept = {key: value for key, value in identity.items() if key not in ("context", "kubeconfig")}
    known = {"context": here.context, "kubeconfig": here.kubeconfig}
    return reference.model_copy(update={"identity": kept | {key: value for key, value in known.items() if value}})
