"""Helper containers of a Docker Engine: made beside a target, and found by their labels."""

from __future__ import annotations

import re
import secrets
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from veloz_chaos.core.capability import Reference, Report
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import beside as helpers
from veloz_chaos.mechanisms import docker_api, helper_image
from veloz_chaos.mechanisms.beside import ENDING, PATIENCE, Found, Helper
from veloz_chaos.mechanisms.docker_api import SIGN, TARGET, Place, asking

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: The least that works: other mount namespaces and control groups (SYS_ADMIN), other users' processes (KILL,
#: SYS_PTRACE), their files (DAC_*), the network (NET_*).
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "KILL", "DAC_OVERRIDE", "DAC_READ_SEARCH", "NET_ADMIN", "NET_RAW")
#: Where the engine may grant it: that the kernel spares us when memory is short, and takes the target instead.
SPARED, SPARED_SCORE = "SYS_RESOURCE", -900
#: What an engine that may not (rootless, or itself confined) says at the start of such a container.
CONFINED = re.compile(r"apply caps|oom_score_adj|final child's PID|not permitted")
#: What an engine says that is about to remove it anyhow.
PASSING = re.compile("is not running|already in progress")
MEMORY = 256 << 20
_HEAD = struct.Struct(">BxxxL")  # of a piece of the stream: 1 stdout, 2 stderr; length
_STDERR = 2
#: The engines that may not spare us, as we have found.
_CONFINED: set[Place] = set()


@dataclass(frozen=True)
class Beside(helpers.Beside):
    """One incarnation of a target container: `started` is its State.StartedAt; `system`: its engine, if known."""

    place: Place
    target: str
    started: str
    system: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def api(self) -> APIClient:
        return docker_api.client(self.place)

    def state(self) -> dict[str, Any]:
        try:
            found = docker_api.inspect(self.api, self.target)
        except Gone:
            docker_api.require_system(self.place, self.system)
            raise
        if found["State"]["StartedAt"] != self.started or not docker_api.runs(found["State"]):
            raise Gone(docker_api.story(self.api, found, self.started))
        return found

    def start(self, sign: str, name: str | None = None) -> Helper:
        spared = self.place not in _CONFINED
        try:
            return self._start(sign, name, spared)
        except TargetError as error:
            if not spared or not CONFINED.search(str(error)):
                raise
        _CONFINED.add(self.place)
        return self._start(sign, name, spared=False)

    def _start(self, sign: str, name: str | None, spared: bool) -> Helper:
        api, target = self.api, self.state()
        name = name or f"veloz-chaos-{sign.removeprefix('vc-')[:24]}-{secrets.token_hex(3)}"
        image = helper_image.ensure(self.place)
        try:
            container = _create(api, image, target, sign, name, spared)
        except Unavailable:
            with suppress(TargetError):
                remove(api, name)  # it may be there, though nobody said so
            raise
        try:
            with asking(api):
                streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                helper = Helper(container, name, sign, _Stream(api.attach_socket(container, params=streams)))
                api.start(container)
            helper.begin()
            self.state()  # the process that it found is this incarnation's, and not a successor's
        except TargetError as error:
            remove(api, container)
            self.state()
            if isinstance(error, Gone) and container in str(error):  # the helper, not its target
                raise Unavailable(f"somebody has removed the helper {name} before it ran") from error
            raise
        return helper

    def found(self, sign: str | None = None) -> list[Found]:
        return [_found(one) for one in find(self.api, sign, self.target)]

    def stop(self, identity: str) -> None:
        end_one(self.api, identity)

    def ready(self) -> bool:
        return helper_image.there(self.api)

    def watch(self, tell: Callable[[Report], None]) -> Callable[[], None]:
        from veloz_chaos.mechanisms import docker_events

        return docker_events.watch(self, tell)

    def by_hand(self, sign: str) -> str:
        words = self.place.words
        return f"{words} kill -s TERM $({words} ps -q --filter label={SIGN}={sign})"

    def told(self, one: Found) -> str:
        if not one.runs:
            return f"helper {one.name} was never started; remove it by: {self.place.words} rm {one.name}"
        return f"helper {one.name} of {one.sign} is still beside it; end it by: {self.by_hand(one.sign)}"


def identity(container: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Of the incarnation that runs, given the Engine's inspection; `OnDocker` takes it."""
    system = docker_api.known_system(docker_api.client(place))
    found = {"container": docker_api.name_of(container), "id": container["Id"], "system": system}
    where = {key: value for key, value in (("host", place.host), ("context", place.context)) if value}
    return {**found, "started": container["State"]["StartedAt"], **where}


class OnDocker(helpers.Neighbour):
    """Mixed into every target whose helpers are containers of an Engine; `identity` is what its reference holds."""

    beside: Beside

    @staticmethod
    def place(reference: Reference) -> Beside:
        found = reference.identity
        place = Place(found.get("host"), found.get("context"))
        return Beside(place, found["id"], found["started"], found.get("system", {}))


class _Stream:
    """A connection that the Engine has handed over: pieces of stdout and of stderr, whose ends are nobody's lines."""

    def __init__(self, connection: Any) -> None:
        self._kept = connection  # its response must not be collected
        self._socket = getattr(connection, "_sock", connection)
        self._socket.settimeout(PATIENCE)
        self._rest = b""

    def fileno(self) -> int:
        return int(self._socket.fileno())

    def pending(self) -> bool:
        return bool(getattr(self._socket, "pending", lambda: 0)())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> tuple[bytes, bytes] | None:
        piece = self._socket.recv(65536)
        if not piece:
            return None
        self._rest += piece
        said = {_STDERR: b""}
        while len(self._rest) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest)
            if len(self._rest) < _HEAD.size + length:
                break
            body, self._rest = self._rest[_HEAD.size :][:length], self._rest[_HEAD.size + length :]
            said[kind] = said.get(kind, b"") + body
        complained = said.pop(_STDERR)
        return b"".join(said.values()), complained

    def close(self) -> None:
        self._socket.close()


def _create(api: APIClient, image: str, target: dict[str, Any], sign: str, name: str, spared: bool) -> str:
    """The container's id; it does not run yet."""
    from docker.types import LogConfig

    with asking(api):
        host = api.create_host_config(
            auto_remove=True,
            pid_mode="host",
            network_mode=f"container:{target['Id']}",
            cap_drop=["ALL"],
            cap_add=[*CAPABILITIES, *([SPARED] if spared else [])],
            security_opt=["apparmor=unconfined", "label=disable"],
            cgroupns="host",
            binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
            mem_limit=MEMORY,
            oom_score_adj=SPARED_SCORE if spared else 0,
            log_config=LogConfig(type="none"),
        )
    try:
        with asking(api):
            made = api.create_container(
                image, [sign, str(target["State"]["Pid"])], name=name, host_config=host, stdin_open=True,
                labels={SIGN: sign, TARGET: target["Id"]},
            )  # fmt: skip
    except TargetError as error:
        if "already in use" not in str(error):
            raise
        raise TargetError(f"a container named {name} is there, and is somebody else's; rename it") from error
    return str(made["Id"])


# --- those of anybody ----------------------------------------------------------------------------------------------


def find(api: APIClient, sign: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
    """The helper containers, as the Engine lists them, of whoever started them.

    One that dies as the Engine comes back may stay in its list, dead, though it is removed, until the next restart.
    """
    labels = [f"{SIGN}={sign}" if sign else SIGN, *([f"{TARGET}={target}"] if target else [])]
    with asking(api):
        listed = api.containers(all=True, filters={"label": labels})
    return [one for one in listed if one["State"] == "running" or docker_api.still(api, one["Id"])]


def _found(one: dict[str, Any]) -> Found:
    return Found(one["Id"], docker_api.name_of(one), one["Labels"][SIGN], one["State"] == "running")


def end_one(api: APIClient, container: str) -> None:
    """TERM, so that it undoes what it holds; by force if it does not end. Raises TargetError if it stays even so."""
    try:
        with asking(api):
            api.kill(container, "SIGTERM")
        with suppress(Unavailable), asking(api):
            api.wait(container, timeout=ENDING)
    except Gone:
        return
    except TargetError:  # it does not run
        pass
    remove(api, container)


def remove(api: APIClient, container: str) -> None:
    """By force, until it is gone. Of what dies or is removed at this very moment the Engine must be asked again."""
    from docker.errors import APIError

    deadline = time.monotonic() + ENDING
    while True:
        with asking(api):
            try:
                api.remove_container(container, force=True)
                return
            except APIError as error:
                if error.response is not None and error.response.status_code == 404:
                    return
                if not PASSING.search(str(error)) or time.monotonic() > deadline:
                    raise
        time.sleep(0.05)
