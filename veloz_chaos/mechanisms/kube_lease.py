"""A lock that a whole cluster sees: a Lease, renewed while it is held, free again when it is not.

Nobody's clock is trusted to take a lease away: that needs its whole duration without a sign of its holder, by our own
clock. A holder whose lease may have been taken says so (`lost`).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from veloz_chaos.errors import Missing, Refused, TargetError
from veloz_chaos.mechanisms.kube_api import OURS, Api, Conflict, Json, path

#: Seconds: so long is a lease good without a renewal, and so often is it renewed.
SECONDS, EVERY = 30, 10.0
#: Between two looks at a lease that may be nobody's, and between two attempts at a renewal. Seconds.
PAUSE = 1.0
#: So much earlier than anybody else may take it, its holder takes it for lost. Seconds.
MARGIN = 5.0
Wait = Callable[[str], None]
KIND = "leases.coordination.k8s.io"


class Lease:
    """Held from `take` to `release`. `lost` says, in words, why it may not be ours any more; empty as long as it is."""

    def __init__(self, api: Api, found: Json, every: float, asked: float) -> None:
        """`asked`: when we began to ask for it; nobody has seen it before."""
        self._lost, self._failed = "", "the API server has not answered yet"
        self._api, self._found, self._every = api, found, every
        self._renewed = asked
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._keeper.start()

    @property
    def name(self) -> str:
        about = self._found["metadata"]
        return f"{about['namespace']}/{about['name']}"

    @property
    def lost(self) -> str:
        """By the clock, however long an attempt at a renewal may hang."""
        if not self._lost and not self._ended.is_set() and _now() - self._renewed > self._seconds - MARGIN:
            self._lost = f"the lease {self.name} could not be renewed: {self._failed}"
        return self._lost

    def _keep(self) -> None:
        pause = self._every
        while not self.lost and not self._ended.wait(pause):
            pause = self._every if self._renew() else PAUSE

    def _renew(self) -> bool:
        """One attempt, and another if somebody changed the object meanwhile."""
        asked = _now()
        try:
            self._found = self._written(renewTime=_stamp())
        except Missing:
            self._lost = f"the lease {self.name} was deleted"
        except TargetError as error:
            self._failed = str(error)
            return False
        else:
            self._renewed = asked
        return not self.lost

    @property
    def _seconds(self) -> float:
        return float(self._found["spec"]["leaseDurationSeconds"])

    def _written(self, **changes: Any) -> Json:
        """Raises Conflict if it changes all the time, or is somebody else's: then it is lost."""
        where = _path(self._found)
        try:
            return self._api.put(where, _with(self._found, changes))
        except Conflict:
            found = self._api.get(where)
            if found["spec"].get("holderIdentity") != self._found["spec"]["holderIdentity"]:
                self._lost = f"the lease {self.name} is held by {found['spec'].get('holderIdentity') or 'nobody'} now"
                raise
            self._found = found
            return self._api.put(where, _with(found, changes))

    def release(self) -> None:
        """Free at once, if it is still ours; else, or if nobody answers, it ends by itself. Bounded, safe twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._keeper.join(2 * EVERY)
        if not self.lost:
            try:
                self._found = self._written(holderIdentity="", renewTime=_stamp())
            except TargetError as error:
                self._lost = self._lost or str(error)


def take(
    api: Api,
    namespace: str,
    name: str,
    holder: str,
    *,
    wait: Wait | None = None,
    seconds: int = SECONDS,
    every: float = EVERY,
) -> Lease:
    """Raises Refused, with the holder's name, if somebody else has it; TargetError for what the server refuses.

    One that has been released, or is `holder`'s own, is taken at once; one that has run out, once it has stood still
    for its duration. With `wait` so is one that has not, rather than to be refused at once by the look of it; it hears
    what is waited for.
    """
    where = path(KIND, namespace, name)
    seen: tuple[Any, Any] | None = None
    since = _now()
    while True:
        asked = _now()
        try:
            found = _read(api, where)
            if found is None:
                made = api.post(path(KIND, namespace), _new(namespace, name, holder, seconds))
                return Lease(api, made, every, asked)
            spec = found["spec"]
            mark = spec.get("holderIdentity"), spec.get("renewTime")
            still = float(spec.get("leaseDurationSeconds") or seconds)
            if mark[0] in (None, "", holder) or (mark == seen and _now() - since >= still):
                return Lease(api, api.put(where, _taken(found, holder, seconds)), every, asked)
        except Conflict:
            continue
        if seen is not None and mark != seen:
            raise Refused(_refusal(found))
        if seen is None:
            if wait is None and _good(spec):
                raise Refused(_refusal(found))
            if wait is not None:
                wait(f"{mark[0]} has the lease {namespace}/{name}; waiting {still:.0f} s for a sign of it")
            seen, since = mark, _now()
        time.sleep(min(PAUSE, max(0.05, since + still - _now())))


def _read(api: Api, where: str) -> Json | None:
    try:
        return api.get(where)
    except Missing:
        return None


def _new(namespace: str, name: str, holder: str, seconds: int) -> Json:
    about = {"name": name, "namespace": namespace, "labels": OURS}
    return _taken({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about}, holder, seconds)


def _taken(found: Json, holder: str, seconds: int) -> Json:
    before = found.get("spec", {})
    times = {"acquireTime": _stamp(), "renewTime": _stamp(), "leaseDurationSeconds": seconds}
    transitions = int(before.get("leaseTransitions") or 0) + (before.get("holderIdentity") != holder and bool(before))
    return _with(found, {"holderIdentity": holder, "leaseTransitions": transitions, **times})


def _with(found: Json, changes: Json) -> Json:
    """Its resourceVersion stays in it: the server takes it only if nobody else has changed it."""
    return {**found, "spec": {**found.get("spec", {}), **changes}}


def _path(found: Json) -> str:
    return path(KIND, found["metadata"]["namespace"], found["metadata"]["name"])


def _good(spec: Json) -> bool:
    """By the look of it its holder lives. One renewed in the future tells only that the clocks differ."""
    end = _end(spec)
    if end is None:
        return False
    left = (end - datetime.now(UTC)).total_seconds()
    return 0 < left <= float(spec["leaseDurationSeconds"]) + MARGIN


def _end(spec: Json) -> datetime | None:
    try:
        return datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])
    except (KeyError, TypeError, ValueError):
        return None


def _refusal(found: Json) -> str:
    spec, about = found["spec"], found["metadata"]
    end, holder = _end(spec), str(spec.get("holderIdentity"))
    until = f" until {end.astimezone(UTC):%H:%M:%S} UTC, and longer if it lives" if end else ""
    return (
        f"this environment is in use by {holder}{until} "
        f"(lease {about['namespace']}/{about['name']}); wait for it, or end it {_ending(holder)}"
    )


def _ending(holder: str) -> str:
    """How: that can be done only where it was started. `holder`: as `engine.cluster.holder` has it."""
    run = re.fullmatch(r"run (\w+) \(.*@(.*)\)", holder)
    if run is None:
        return "where it was started"
    return (
        f"on {run[2]} with `veloz-chaos abort {run[1]} --runs DIR` (DIR: its own --runs); if it is a Job, by `kubectl "
        "delete job`: it takes its faults out first"
    )


def _now() -> float:
    """Counts suspend."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
