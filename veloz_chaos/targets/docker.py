"""Containers of a Docker Engine, and single processes inside them, local or remote; hurt from the daemon's host.

An incarnation is a container's id with the time of its start: the same container, started again, is another. Signals
come from the host's pid namespace by a helper container, since `docker kill` counts as a manual stop, after which no
restart policy acts. The helper joins the container's own control groups and reaches its volumes from outside, so that
an image needs no shell, no root and no capability for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import cached_property
from typing import Any, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.capability import Killable, Offer, Pausable, Reference
from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.mechanisms import docker_api, helper_container, helper_image, proc
from veloz_chaos.mechanisms.contained import STRAINS, Contained, Inside, inside, nothing_inside
from veloz_chaos.mechanisms.docker_api import Place, Wanted
from veloz_chaos.mechanisms.helper_container import OnDocker


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
            proc.require_expression("process", self.process)
        return self

    @property
    def place(self) -> Place:
        return Place(self.host, self.context)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.name, self.label, self.project, self.service)


KILLED = Offer(
    capability="Killable",
    mechanism="signal to its first process from the host's pid namespace, by a helper container: the restart policy "
    "acts",
    touches="this container; the others in its pid namespace die with its first process",
    undo="nothing to undo: its restart policy starts it again",
)


class Container(OnDocker, Contained, Killable, Pausable):
    """One start of one container."""

    offers = (
        KILLED,
        Offer(
            capability="Pausable",
            mechanism="docker pause: the kernel's freezer, for all processes of the container",
            touches="this container alone; its connections stay open and are accepted by the kernel",
            undo="docker unpause",
            at_once=True,
        ),
        *STRAINS,
    )

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.name, self.words = str(reference.identity["container"]), self.beside.place.words

    @cached_property
    def _made(self) -> Mapping[str, Any]:
        """Of the Engine's inspection what stays as long as this start lasts."""
        return self.beside.state()

    def offered(self) -> Sequence[Offer]:
        return [self._worded(offer) for offer in self.offers if offer.capability not in self.lacks]

    def _worded(self, offer: Offer) -> Offer:
        if offer is not KILLED or self._made["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no"):
            return offer
        return offer.model_copy(update={"undo": "nothing to undo: it has no restart policy, so somebody must start it"})

    @property
    def lacks(self) -> Mapping[str, str]:
        return lacking(self._made, self.volumes)

    def leftovers(self) -> list[str]:
        state = self.beside.state()["State"]
        paused = [f"container {self.name} is paused; resume it by `{self._unpause()}`"] if state["Paused"] else []
        return paused + super().leftovers()

    def by_hand(self, capability: str, sign: str) -> str:
        return self._unpause() if capability == "Pausable" else super().by_hand(capability, sign)

    def pause(self) -> None:
        self._turn(self.beside.api.pause, paused=True)

    def resume(self) -> None:
        """Nothing to do for what is gone."""
        with suppress(Gone):
            self._turn(self.beside.api.unpause, paused=False)

    def _turn(self, act: Callable[[str], None], *, paused: bool) -> None:
        """What the Engine says of it may be old: it hears of each change once more, later, from containerd."""
        if self.paused() is paused:
            return
        try:
            with docker_api.asking(self.beside.api):
                act(self.beside.target)
        except TargetError:
            if self.paused() is not paused:
                raise

    def paused(self) -> bool:
        return bool(self.beside.state()["State"]["Paused"])

    def told_oom_kills(self) -> int:
        events = docker_api.deaths(self.beside.api, self.beside.target, docker_api.seconds(self.beside.started))
        return sum(1 for event in events if event["Action"] == "oom")

    def _unpause(self) -> str:
        return f"{self.words} unpause {self.beside.target[:12]}"


class Inner(Inside, Container):
    """One process inside one start of one container."""

    def continue_by_hand(self) -> str:
        code = f"import os, signal; os.kill({self.pid}, signal.SIGCONT)"
        return f"{self.words} run --rm --pid host --entrypoint python3 {helper_image.name()} -c '{code}'"


def find(name: str, selector: Selector) -> list[Container]:
    """The containers, or the processes inside them, behind `name`. Raises Missing, with what is there instead."""
    found = docker_api.matching(docker_api.client(selector.place), selector.wanted)
    containers = [_container(name, one, selector) for one in found]
    if selector.process is None:
        return containers
    inner: list[Container] = [
        Inner(Reference(backend="docker", name=name, identity=identity))
        for one in containers
        for identity in inside(one, selector.process)
    ]
    if not inner:
        raise Missing(nothing_inside(name, containers, selector.process))
    return inner


def system(selector: Selector) -> dict[str, str]:
    """Which engine that is."""
    return docker_api.system(selector.place)


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
    identity = helper_container.identity(found, selector.place)
    if selector.volumes:
        identity["volumes"] = {key: volume.path for key, volume in selector.volumes.items()}
    return Container(Reference(backend="docker", name=name, identity=identity))
