"""Look at a container, or at all of a selector, by the Docker Engine's word.

`value` and `json` are {state, running, paused, health, restarts, exit_code, oom_killed, started, count}. `state` is
Docker's (running, paused, restarting, exited, created, removing, dead; empty if there is none), `running` false while
it waits to be started again, `health` healthy, unhealthy, starting or empty (no health check).

Of several containers, `count` of them: `state`, `running`, `paused`, `health`, `exit_code` and `oom_killed` are the
worst one's (one that does not run, else one that is paused, unhealthy, starting; among equals the eldest), `restarts`
(how often a policy started it again) the sum, and `started` the latest: so nothing that happened to one is hidden by
the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import docker_api
from veloz_chaos.mechanisms.docker_look import Containers, Engine

NONE = {
    "state": "", "running": False, "paused": False, "health": "", "restarts": 0, "exit_code": 0, "oom_killed": False,
    "started": "", "count": 0,
}  # fmt: skip


@dataclass(config=ConfigDict(extra="forbid"))
class Docker(Containers, Probe):
    """`status` 1 if there is one; `error`: missing, or why the engine did not answer."""

    default_ok: ClassVar[str] = "json.running && !json.paused && json.health != 'unhealthy'"
    prompted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._asked: tuple[Containers, Engine] | None = None

    async def open(self, eye: Eye) -> None:
        """Raises UsageError where the context or the address is wrong."""
        wanted = self.filled(eye.fill)
        engine = await asyncio.to_thread(Engine.of, wanted)
        await engine.way.open(engine.url)
        self._asked = wanted, engine

    async def look(self, eye: Eye) -> Seen:
        async with asyncio.timeout(eye.timeout.total_seconds()):
            if self._asked is None:
                await self.open(eye)
            assert self._asked is not None
            wanted, engine = self._asked
            try:
                found = await engine.inspected(wanted.wanted)
            except TargetError as error:  # which is not to say that there is none
                return Seen(error=str(error))
        told = summary(found)
        return Seen(status=int(bool(found)), value=told, json=told, error="" if found else "missing")


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What of several inspections (eldest first) is told as of one."""
    if not found:
        return NONE
    all_of_them = [_one(container) for container in found]
    return min(all_of_them, key=_standing) | {
        "restarts": sum(one["restarts"] for one in all_of_them),
        "started": max((one["started"] for one in all_of_them), key=_instant),
        "count": len(all_of_them),
    }


def _one(container: Mapping[str, Any]) -> dict[str, Any]:
    state = container["State"]
    health = (state.get("Health") or {}).get("Status", "")
    return {
        "state": state["Status"],
        "running": docker_api.runs(state),
        "paused": bool(state.get("Paused", False)),
        "health": "" if health == "none" else health,
        "restarts": int(container.get("RestartCount", 0)),
        "exit_code": int(state.get("ExitCode", 0)),
        "oom_killed": bool(state.get("OOMKilled", False)),
        "started": state.get("StartedAt", ""),
    }


def _standing(one: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """The least is the worst."""
    return one["running"], not one["paused"], {"unhealthy": 0, "starting": 1}.get(one["health"], 2)


def _instant(started: str) -> str:
    """Comparable as text: the engine leaves out zeros at the end of the fraction."""
    head, _, fraction = started.rstrip("Z").partition(".")
    return f"{head}.{fraction:0<9}"


PROBE = Docker
