"""Containers of a Docker Engine, and single processes inside them, local or remote; hurt from the daemon's host.

An incarnation is a container's id with the time of its start: the same container, started again, is another. Signals
come from the host's pid namespace by a helper container, since `docker kill` counts as a manual stop, after which no
restart policy acts. The helper joins the container's own control groups and reaches its volumes from outside, so that
an image needs no shell, no root and no capability for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from datetime import timedelta
from typing import Any, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import (
    CpuUse,
    Exhaustible,
    Fillable,
    Killable,
    Offer,
    Pausable,
    Pressable,
    Reference,
    Report,
    Room,
    Saturable,
    Use,
)
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms import docker_api, docker_events, helper_container, helper_image
from veloz_chaos.mechanisms.docker_api import Place, Wanted
from veloz_chaos.mechanisms.helper_container import LOOK, Beside, Ended, Helper

_EXPIRY = "its helper container ends by itself a minute after the longest hold, with its runner, and with its target"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OwnVolume:
    """`path` as the container sees it: a file system of its own."""

    path: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Selector:
    """Exactly one of name; label; project and service. `process`: the one inside whose command line matches it."""

    name: str | None = None
    label: str | None = None
    project: str | None = None
    service: str | None = None
    process: str | None = None
    volumes: dict[str, OwnVolume] = field(default_factory=dict)
    host: str | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.project is None) != (self.service is None):
            raise ValueError("project and service belong together; write both")
        if sum(way is not None for way in (self.name, self.label, self.service)) != 1:
            raise ValueError("write exactly one of name, label, and project with service")
        if self.host and self.context:
            raise ValueError("write host or context, not both")
        if self.process is not None:
            _compiles(self.process)
        return self

    @property
    def place(self) -> Place:
        return Place(self.host, self.context)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.label, self.project, self.service)


_STRAINS = (
    Offer(
        capability="Saturable",
        mechanism="a helper container's busy processes use up its CPU limit from inside its control group",
        touches="whatever runs in this container",
        undo="the busy processes are killed",
        expiry=_EXPIRY,
    ),
    Offer(
        capability="Pressable",
        mechanism="a helper container holds pages within the limit of its control group",
        touches="whatever runs in this container",
        undo="the pages are given back",
        expiry=_EXPIRY,
    ),
    Offer(
        capability="Exhaustible",
        mechanism="a helper container holds pages beyond the limit of its control group, until the kernel kills",
        touches="whatever runs in this container; the kernel chooses the largest",
        undo="nothing to undo: the pages go with the helper, which ends with its target",
    ),
    Offer(
        capability="Fillable",
        mechanism="a file without a name, opened by a helper container, holds the space of its volume",
        touches="the volume",
        undo="the space is free when the helper is dead",
        expiry=_EXPIRY,
    ),
)


class Container(Killable, Pausable, Saturable, Pressable, Exhaustible, Fillable):
    """One start of one container."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="signal to its first process from the host's pid namespace, by a helper container: the restart "
            "policy acts",
            touches="this container; the others in its pid namespace die with its first process",
            undo="nothing to undo: its restart policy starts it again",
        ),
        Offer(
            capability="Pausable",
            mechanism="docker pause: the kernel's freezer, for all processes of the container",
            touches="this container alone; its connections stay open and are accepted by the kernel",
            undo="docker unpause",
            at_once=True,
        ),
        *_STRAINS,
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        identity = reference.identity
        self.name, self.place = str(identity["container"]), Place(identity.get("host"), identity.get("context"))
        self.beside = Beside(self.place, identity["id"], identity["started"])
        self.volumes: Mapping[str, str] = identity.get("volumes", {})
        self._lacks: Mapping[str, str] | None = None
        self._sign = LOOK

    def offered(self) -> Sequence[Offer]:
        return [offer for offer in self.offers if offer.capability not in self.lacks]

    @property
    def lacks(self) -> Mapping[str, str]:
        if self._lacks is None:
            self._lacks = lacking(self.beside.state(), self.volumes)
        return self._lacks

    def alive(self) -> bool:
        """The kernel's word where a helper of ours is beside it, and the Engine's, which comes a little later."""
        if any(_saw_the_end(helper) for helper in helper_container.own(self.beside)):
            return False
        try:
            self.beside.state()
        except Gone:
            return False
        return True

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        return docker_events.watch(self.beside, tell)

    def leftovers(self) -> list[str]:
        state = self.beside.state()["State"]
        paused = [f"container {self.name} is paused; resume it by `{self._unpause()}`"] if state["Paused"] else []
        return paused + self._held_by_us() + self._held_by_others()

    def by_hand(self, capability: str, sign: str) -> str:
        if capability in ("Killable", "Exhaustible"):
            return ""
        return self._unpause() if capability == "Pausable" else self._end(sign)

    def arm(self, sign: str) -> None:
        self._sign = sign
        helper_container.obtain(self.beside, sign)

    def disarm(self, sign: str) -> None:
        helper_container.withdraw(self.beside, sign)

    # --- kill and pause ----------------------------------------------------------------------------------------

    def kill(self, signal: str) -> None:
        """KILL is awaited, so that a look right after it finds the process dead; others take the time they take."""
        self._ask(self._sign, "signal", name=signal)

    def pause(self) -> None:
        api = self.beside.api
        if not self.beside.state()["State"]["Paused"]:
            with docker_api.asking(api):
                api.pause(self.beside.target)

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        api = self.beside.api
        with suppress(Gone):
            if self.beside.state()["State"]["Paused"]:
                with docker_api.asking(api):
                    api.unpause(self.beside.target)

    def paused(self) -> bool:
        return bool(self.beside.state()["State"]["Paused"])

    # --- strains -----------------------------------------------------------------------------------------------

    def saturate(self, sign: str, load: float, expires: timedelta) -> None:
        self._ask(sign, "saturate", load=load, expires=expires.total_seconds())

    def unsaturate(self, sign: str) -> None:
        helper_container.relieve(self.beside, sign)

    def cpu_use(self, sign: str) -> CpuUse:
        return CpuUse(**self._ask(sign, "cpu_use"))

    def press(self, sign: str, upto: float, expires: timedelta) -> None:
        self._ask(sign, "press", upto=upto, expires=expires.total_seconds())

    def release(self, sign: str, undo: dict[str, Any]) -> None:
        helper_container.relieve(self.beside, sign)

    def memory_settings(self) -> dict[str, Any]:
        return {}

    def memory_use(self) -> Use:
        return Use(**self._ask(self._sign, "memory_use"))

    def exhaust(self, sign: str, over: timedelta, expires: timedelta) -> None:
        self._ask(sign, "exhaust", over=over.total_seconds(), expires=expires.total_seconds())

    def oom_kills(self) -> int | None:
        """The kernel's count as our helpers saw it last; where none of ours was beside it, the Engine's events."""
        told: list[int | None] = [
            helper.epilogue["oom_kills"] for helper in helper_container.own(self.beside) if helper.epilogue
        ]
        if told:
            return max(count or 0 for count in told)
        try:
            return int(self._ask(self._sign, "oom_kills") or 0)
        except Gone:
            events = docker_api.deaths(self.beside.api, self.beside.target, docker_api.seconds(self.beside.started))
            return sum(1 for event in events if event["Action"] == "oom")

    def fill(self, sign: str, volume: str, free: int, expires: timedelta) -> None:
        self._ask(sign, "fill", **self._volume(volume), free=free, expires=expires.total_seconds())

    def empty(self, sign: str, volume: str) -> None:
        helper_container.relieve(self.beside, sign)

    def room(self, sign: str, volume: str) -> Room:
        return Room(**self._ask(sign, "room", **self._volume(volume)))

    def _volume(self, name: str) -> dict[str, str]:
        if name not in self.volumes:
            raise Missing(f"it has no volume `{name}`; it names {', '.join(sorted(self.volumes)) or 'none'}")
        return {"volume": name, "path": self.volumes[name]}

    # --- helpers -----------------------------------------------------------------------------------------------

    def _ask(self, sign: str, call: str, **given: Any) -> Any:
        return helper_container.call(self.beside, sign, call, **self._process(), **given)

    def _process(self) -> dict[str, Any]:
        """Which process is meant: the container's first one."""
        return {}

    def _held_by_us(self) -> list[str]:
        found = []
        for helper in helper_container.own(self.beside):
            with suppress(Ended):
                found += [f"{words}; end it by: {self._end(helper.sign)}" for words in helper.call("held")]
        return found

    def _held_by_others(self) -> list[str]:
        return [self._told(one) for one in helper_container.of_others(self.beside)]

    def _told(self, one: Mapping[str, Any]) -> str:
        name = docker_api.name_of(one)
        if one["State"] != "running":
            return f"helper {name} was never started; remove it by: {self.place.words} rm {name}"
        sign = one["Labels"][docker_api.SIGN]
        return f"helper {name} of {sign} is still beside it; end it by: {self._end(sign)}"

    def _end(self, sign: str) -> str:
        words = self.place.words
        return f"{words} kill -s TERM $({words} ps -q --filter label={docker_api.SIGN}={sign})"

    def _unpause(self) -> str:
        return f"{self.place.words} unpause {self.beside.target[:12]}"


def _saw_the_end(helper: Helper) -> bool:
    """Of its target. It may end with it while it is asked; then its last line says so."""
    if not helper.epilogue:
        with suppress(Ended):
            return not helper.call("alive")
    return bool(helper.epilogue)


class Inner(Container):
    """One process inside a container; its children and the rest of the container are touched by strains only."""

    offers = (
        Offer(
            capability="Killable",
            mechanism="signal through a pidfd from the host's pid namespace, by a helper container",
            touches="this process alone, not its children",
            undo="nothing to undo: whoever supervises it starts it again",
        ),
        Offer(
            capability="Pausable",
            mechanism="SIGSTOP from the host's pid namespace, by a helper container, until every thread is stopped",
            touches="this process alone; its connections stay open and are accepted by the kernel",
            undo="SIGCONT",
            at_once=True,
        ),
        *_STRAINS,
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.pid, self.start = int(reference.identity["pid"]), int(reference.identity["start"])

    def alive(self) -> bool:
        try:
            return bool(self._ask(self._sign, "alive", boot_id=self.reference.identity["boot_id"]))
        except Gone:
            return False

    def leftovers(self) -> list[str]:
        found = super().leftovers()
        with suppress(Gone):
            if self.paused():
                found.append(f"process {self.pid} is stopped; resume it by `{self._continue()}`")
        return found

    def by_hand(self, capability: str, sign: str) -> str:
        return self._continue() if capability == "Pausable" else super().by_hand(capability, sign)

    def pause(self) -> None:
        self._ask(self._sign, "stop")

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        with suppress(Gone):
            self._ask(self._sign, "cont")

    def paused(self) -> bool:
        return bool(self._ask(self._sign, "stopped"))

    def _process(self) -> dict[str, Any]:
        return {"pid": self.pid, "start": self.start}

    def _continue(self) -> str:
        code = f"import os, signal; os.kill({self.pid}, signal.SIGCONT)"
        return f"{self.place.words} run --rm --pid host --entrypoint python3 {helper_image.name()} -c '{code}'"


def find(name: str, selector: Selector) -> list[Container]:
    """The containers, or the processes inside them, behind `name`. Raises Missing, with what is there instead."""
    found = docker_api.matching(docker_api.client(selector.place), selector.wanted)
    containers = [_container(name, one, selector) for one in found]
    if selector.process is None:
        return containers
    inner: list[Container] = [process for one in containers for process in _inside(name, one, selector.process)]
    if not inner:
        raise Missing(_nothing_inside(name, containers, selector.process))
    return inner


def reopen(reference: Reference) -> Container:
    """The same incarnation again. Raises Gone."""
    target = Inner(reference) if "process" in reference.identity else Container(reference)
    target.beside.state()
    if isinstance(target, Inner) and not target.alive():
        raise Gone(f"{reference.name}: process {target.pid} no longer exists in container {target.name}")
    return target


def lacking(container: Mapping[str, Any], volumes: Mapping[str, str]) -> dict[str, str]:
    """Capability -> what its service would have to have, from the Engine's inspection of a container."""
    host, name = container["HostConfig"], docker_api.name_of(container)
    found = {}
    if not (host.get("NanoCpus") or (host.get("CpuQuota") or 0) > 0 or host.get("CpusetCpus")):
        found["Saturable"] = f"container {name} has no CPU limit of its own; write cpus: 1.0 for its service"
    if not host.get("Memory"):
        limit = f"container {name} has no memory limit of its own; write mem_limit: 256m for its service (or "
        found["Pressable"] = found["Exhaustible"] = limit + "deploy: resources: limits: memory: 256m)"
    if reason := _unfillable(container, volumes):
        found["Fillable"] = reason
    return found


def _unfillable(container: Mapping[str, Any], volumes: Mapping[str, str]) -> str:
    """Why none of its volumes can be filled; empty if one may (its helper knows more, and may still refuse)."""
    if not volumes:
        return "it names no volumes; write volumes: {logs: {path: …}} beside its selector"
    reasons = [_endless(container, name, path) for name, path in volumes.items()]
    return "" if not all(reasons) else "; ".join(reasons)


def _endless(container: Mapping[str, Any], name: str, path: str) -> str:
    mounts = dict(_mounts(container))
    place = max((target for target in mounts if _below(path, target)), key=len, default=None)
    if place is None:
        return (
            f"volume `{name}` ({path}) is on the container's root file system, which is never filled; write "
            f"tmpfs: ['{path}:size=16m'] for its service, or mount a volume with a size there"
        )
    if not mounts[place]:
        return (
            f"volume `{name}` ({path}) is in memory without a size, which is never filled; write "
            f"tmpfs: ['{place}:size=16m'] for its service"
        )
    return ""


def _mounts(container: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Where something is mounted, and whether it may have an end of its own."""
    host = container["HostConfig"]
    for target, options in (host.get("Tmpfs") or {}).items():
        yield target, "size=" in options
    sizes = {one["Target"]: one.get("TmpfsOptions") or {} for one in host.get("Mounts") or [] if one["Type"] == "tmpfs"}
    for one in container.get("Mounts") or []:
        if one["Type"] == "tmpfs" and one["Destination"] in (host.get("Tmpfs") or {}):
            continue
        yield one["Destination"], one["Type"] != "tmpfs" or bool(sizes.get(one["Destination"], {}).get("SizeBytes"))
    for target, options in sizes.items():
        yield target, bool(options.get("SizeBytes"))


def _below(path: str, folder: str) -> bool:
    return path.rstrip("/") == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")


def _container(name: str, found: Mapping[str, Any], selector: Selector) -> Container:
    place = {"host": selector.host, "context": selector.context}
    identity: dict[str, Any] = {
        "container": docker_api.name_of(found),
        "id": found["Id"],
        "started": found["State"]["StartedAt"],
        **{key: value for key, value in place.items() if value},
    }
    if selector.volumes:
        identity["volumes"] = {key: volume.path for key, volume in selector.volumes.items()}
    return Container(Reference(backend="docker", name=name, identity=identity))


def _inside(name: str, container: Container, pattern: str) -> Iterator[Inner]:
    with suppress(Gone):
        helper = helper_container.obtain(container.beside, LOOK)
        for one in helper.call("processes", pattern=pattern):
            identity = {
                **container.reference.identity,
                "process": pattern,
                "pid": one["pid"],
                "start": one["start"],
                "boot_id": helper.about["boot_id"],
            }
            yield Inner(Reference(backend="docker", name=name, identity=identity))


def _nothing_inside(name: str, containers: Sequence[Container], pattern: str) -> str:
    running: list[str] = []
    for one in containers:
        with suppress(TargetError):
            running += helper_container.call(one.beside, LOOK, "commands")
    where = ", ".join(one.name for one in containers)
    return (
        f"{name}: no process has a command line like /{pattern}/ in {where}; there run: "
        f"{', '.join(repr(command[:80]) for command in running[:12]) or 'none'}; correct the environment"
    )


def _compiles(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"process is no regular expression: {error}") from None
