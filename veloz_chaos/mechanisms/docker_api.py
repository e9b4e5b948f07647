"""The Docker Engine's API: where it is, what it says, and in whose words it fails.

The only place that imports the SDK, and inside functions only: it takes 130 ms. The SDK's own reader of contexts finds
none where there is no config.json, so they are read here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable

if TYPE_CHECKING:
    from docker.api.client import APIClient

DEFAULT = "unix:///var/run/docker.sock"
#: Seconds that the Engine may take for one answer, and for one step of a build.
PATIENCE, BUILD_PATIENCE = 10.0, 300.0
PROJECT, SERVICE, ONE_OFF = (f"com.docker.compose.{key}" for key in ("project", "service", "oneoff"))
#: Of the API, to ask the Engine for its own: only thereafter is the SDK as it must be.
OLDEST = "1.24"
#: Where each client leads: the SDK keeps no address that a user would know.
_HOSTS: WeakKeyDictionary[APIClient, str] = WeakKeyDictionary()
#: Every container of ours carries both.
SIGN, TARGET = "veloz-chaos.sign", "veloz-chaos.target"


@dataclass(frozen=True)
class Place:
    """Which engine: by address, or by the name of a context; neither: what Docker's own command line would use."""

    host: str | None = None
    context: str | None = None

    @property
    def words(self) -> str:
        """The beginning of a command by hand."""
        if self.host:
            return f"docker --host {self.host}"
        return f"docker --context {self.context}" if self.context else "docker"


@dataclass(frozen=True)
class Endpoint:
    """`ca`, `cert` and `key` are files; `verify` whether the Engine's certificate is checked."""

    host: str
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    tls: bool = False
    verify: bool = True


@dataclass(frozen=True)
class Wanted:
    """Which containers: exactly one of name, label, and project with service."""

    name: str | None = None
    label: str | None = None
    project: str | None = None
    service: str | None = None

    def filters(self) -> dict[str, list[str]]:
        """As the API takes them."""
        if self.name:
            return {"name": [f"^/{self.name}$"]}
        if self.label:
            return {"label": [self.label]}
        return {"label": [f"{PROJECT}={self.project}", f"{SERVICE}={self.service}"]}

    def __str__(self) -> str:
        if self.name:
            return f"is named {self.name}"
        return f"carries the label {self.label}" if self.label else f"is {self.service} of the project {self.project}"


# --- where ---------------------------------------------------------------------------------------------------------


def endpoint(place: Place, environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Endpoint:
    """In the order of Docker's own command line: what is asked for, DOCKER_HOST, DOCKER_CONTEXT, the current context.

    Raises TargetError for a context that is not there or is damaged.
    """
    folder = Path(environment.get("DOCKER_CONFIG") or (home or Path.home()) / ".docker")
    if place.host or (not place.context and environment.get("DOCKER_HOST")):
        return _by_environment(place.host or environment["DOCKER_HOST"], environment, folder)
    name = place.context or environment.get("DOCKER_CONTEXT") or _current(folder)
    return Endpoint(DEFAULT) if name == "default" else _of_context(name, folder)


def _by_environment(host: str, environment: Mapping[str, str], folder: Path) -> Endpoint:
    certificates = Path(environment.get("DOCKER_CERT_PATH") or folder)
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not host.startswith(("tcp:", "https:")) or not (verify or environment.get("DOCKER_CERT_PATH")):
        return Endpoint(host)
    return Endpoint(host, *_certificates(certificates), tls=True, verify=verify)


def _of_context(name: str, folder: Path) -> Endpoint:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = _json(folder / "contexts" / "meta" / key / "meta.json")
    if meta is None:
        there = ", ".join(sorted(_contexts(folder))) or "none"
        raise TargetError(f"there is no Docker context {name} in {folder}; there are: default, {there}")
    try:
        said = meta["Endpoints"]["docker"]
        host, skip = str(said["Host"]), bool(said.get("SkipTLSVerify", False))
    except (KeyError, TypeError, AttributeError):
        raise TargetError(f"the Docker context {name} names no engine; make it anew by `docker context`") from None
    ca, cert, private = _certificates(folder / "contexts" / "tls" / key / "docker")
    tls = host.startswith(("tcp:", "https:")) and (ca or cert) is not None
    return Endpoint(host, ca, cert, private, tls, not skip) if tls else Endpoint(host)


def _certificates(folder: Path) -> tuple[str | None, str | None, str | None]:
    files = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
    ca, cert, key = (str(file) if file.is_file() else None for file in files)
    return ca, cert, key


def _current(folder: Path) -> str:
    config = _json(folder / "config.json")
    return str(config.get("currentContext") or "default") if isinstance(config, dict) else "default"


def _contexts(folder: Path) -> Iterator[str]:
    for file in (folder / "contexts" / "meta").glob("*/meta.json"):
        meta = _json(file)
        if isinstance(meta, dict) and "Name" in meta:
            yield str(meta["Name"])


def _json(file: Path) -> Any:
    """None if there is no such file. Raises TargetError for one that is no JSON."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TargetError(f"{file} can't be read: {error}") from None


# --- asking --------------------------------------------------------------------------------------------------------


@cache
def client(place: Place = Place(), patience: float = PATIENCE) -> APIClient:
    """Raises Unavailable if no engine answers."""
    from docker import APIClient
    from docker.tls import TLSConfig

    end = endpoint(place)
    with asking(host=end.host):
        pair = (end.cert, end.key) if end.cert and end.key else None
        tls = TLSConfig(client_cert=pair, ca_cert=end.ca, verify=end.verify) if end.tls else False
        made = APIClient(base_url=end.host, version=OLDEST, timeout=patience, tls=tls)  # type: ignore[arg-type]
        made.trust_env = False  # neither a proxy nor certificates that the environment names for the Web
        made._version = made._retrieve_server_version()  # type: ignore[attr-defined]
    _HOSTS[made] = end.host
    return made


def system(place: Place) -> dict[str, str]:
    """Which engine answers there, as an environment's `identity` has it. Raises TargetError."""
    return _system(client(place))


def _system(api: APIClient) -> dict[str, str]:
    with asking(api):
        return {"docker-id": str(api.info()["ID"])}


#: As it answered first.
known_system = cache(_system)


def require_system(place: Place, known: Mapping[str, str]) -> None:
    """What one engine does not have another one may have. Raises Unavailable if it is not the one that is known."""
    if known and (there := system(place)) != known and there == system(place):  # Podman makes up a new one each time
        where, (key, meant) = _HOSTS.get(client(place), ""), next(iter(known.items()))
        raise Unavailable(
            f"another Docker Engine answers at {where} ({there[key]}) than the one that was meant ({meant}); say where "
            "that one is: host: or context: in the environment, or DOCKER_HOST"
        )


@contextmanager
def asking(api: APIClient | None = None, host: str = "") -> Iterator[None]:
    """Whatever the SDK raises becomes a TargetError that says what to do."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException, OSError) as error:
        raise explained(error, host or (_HOSTS.get(api, "") if api else "")) from error


def explained(error: BaseException, host: str) -> TargetError:
    """What an exception of the SDK or below it means to the user."""
    from docker.errors import APIError

    where = host or "the Docker Engine"
    if isinstance(error, APIError) and error.response is not None:
        return _refused(error.response.status_code, str(error.explanation or error).strip(), where)
    causes = list(_causes(error))
    said = "; ".join(dict.fromkeys(text for cause in causes if (text := str(cause))))
    if any(isinstance(cause, PermissionError) for cause in causes) or "Permission denied" in said:
        return Unavailable(
            f"{where}: permission denied; add yourself to the group docker (`sudo usermod -aG docker $USER`, then log "
            "in again), run as root, or use a rootless engine"
        )
    if any(type(cause).__name__ == "SSLError" for cause in causes) or "SSLError" in said:
        return Unavailable(f"{where} does not agree on TLS ({_last(causes)}); check DOCKER_CERT_PATH, or the context's")
    if any("Timeout" in type(cause).__name__ or isinstance(cause, TimeoutError) for cause in causes):
        return Unavailable(f"{where} does not answer in time")
    if "paramiko" in said:
        return Unavailable(f"{where} is reached by SSH, which needs one more package: pip install 'docker[ssh]'")
    return Unavailable(
        f"no Docker Engine answers at {where} ({_last(causes)}); start it, or say where it is: host: or context: in "
        "the environment, or DOCKER_HOST"
    )


def _refused(status: int, said: str, where: str) -> TargetError:
    if status == 404:
        return Gone(said) if "no such container" in said.lower() else Missing(said)
    if status >= 500 or status == 408:
        return Unavailable(f"{where} fails: {said}")
    return TargetError(f"{where} refuses: {said}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Outermost first, also those that are only arguments of others."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            reason = getattr(one, "reason", None)
            waiting += [one.__cause__, one.__context__, reason, *one.args]


def _last(causes: Sequence[BaseException]) -> str:
    """The innermost words, which are the kernel's if there are any."""
    system = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return str(system[-1]) if system else str(causes[-1])[:200]


# --- containers ----------------------------------------------------------------------------------------------------


def inspect(api: APIClient, container: str) -> dict[str, Any]:
    """The Engine's whole word on one container. Raises Gone."""
    with asking(api):
        return dict(api.inspect_container(container))


def matching(api: APIClient, wanted: Wanted) -> list[dict[str, Any]]:
    """The running containers, inspected, eldest first. Raises Missing with what is there instead."""
    with asking(api):
        listed = api.containers(all=True, filters=wanted.filters())
    found = [one for one in listed if eligible(one["Labels"] or {})]
    inspected = [whole for one in found if (whole := still(api, one["Id"]))]  # the listing lags behind
    running = [one for one in inspected if runs(one["State"])]
    if not running:
        raise Missing(_nothing(wanted, found, _running(api)))
    return eldest_first(running)


def runs(state: Mapping[str, Any]) -> bool:
    """By an inspection: what waits to be started again is called running too."""
    return bool(state["Running"]) and not state.get("Restarting", False)


def eldest_first(inspected: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A listing knows whole seconds only."""
    return sorted(inspected, key=lambda one: (seconds(one["Created"]), one["Id"]))


def still(api: APIClient, container: str) -> dict[str, Any] | None:
    """The Engine's word on one that it has listed; None if it is gone."""
    try:
        return inspect(api, container)
    except Gone:  # removed while we looked
        return None


def eligible(labels: Mapping[str, str]) -> bool:
    """Neither a helper of ours nor a `docker compose run`."""
    return SIGN not in labels and labels.get(ONE_OFF, "False") != "True"


def _nothing(wanted: Wanted, stopped: Sequence[Mapping[str, Any]], running: Sequence[str]) -> str:
    if stopped:
        names = ", ".join(f"{name_of(one)} ({one['Status'] or one['State']})" for one in stopped)
        return f"what {wanted} does not run: {names}; start it"
    there = ", ".join(running[:12]) + (", …" if len(running) > 12 else "")
    return f"no container {wanted}; running are: {there or 'none'}; start it, or correct the environment"


def _running(api: APIClient) -> list[str]:
    with asking(api):
        listed = [one for one in api.containers() if SIGN not in (one["Labels"] or {})]
    return sorted(_called(one) for one in listed)


def _called(one: Mapping[str, Any]) -> str:
    labels = one["Labels"] or {}
    if PROJECT in labels:
        return f"{name_of(one)} (project {labels[PROJECT]}, service {labels.get(SERVICE, '?')})"
    return name_of(one)


def name_of(one: Mapping[str, Any]) -> str:
    """From a listing or an inspection."""
    names = one.get("Names") or [one.get("Name") or one["Id"][:12]]
    return str(names[0]).lstrip("/")


def story(api: APIClient, found: Mapping[str, Any], started: str) -> str:
    """What became of the incarnation that `started` names, given what the Engine says of the container now."""
    name, state = name_of(found), found["State"]
    if state["StartedAt"] == started:
        return f"container {name} ended at {state['FinishedAt']}{_how(state['ExitCode'], state['OOMKilled'])}"
    try:
        told = deaths(api, found["Id"], seconds(started))
    except TargetError:
        told = []
    code = next((one["Actor"]["Attributes"].get("exitCode") for one in told if one["Action"] == "die"), None)
    return f"container {name} restarted at {state['StartedAt']}{_how(code, any(x['Action'] == 'oom' for x in told))}"


def _how(code: Any, oom: bool) -> str:
    return (f", exit code {code}" if code is not None else "") + (", killed for memory (OOMKilled)" if oom else "")


def deaths(api: APIClient, container: str, since: float, kinds: Sequence[str] = ("die", "oom")) -> list[dict[str, Any]]:
    """What the Engine remembers of a container's ends since (seconds of its own clock); it remembers 256 events."""
    filters = {"container": [container], "event": list(kinds)}
    url = f"/events?since={since:.9f}&until={now(api):.9f}&filters={quote(json.dumps(filters))}"
    with asking(api):
        answer = api.get(api._url(url))  # type: ignore[attr-defined]  # events() knows whole seconds only
        api._raise_for_status(answer)  # type: ignore[attr-defined]
        return [json.loads(line) for line in answer.text.splitlines() if line]


def now(api: APIClient) -> float:
    """The Engine's own clock, in seconds since the epoch."""
    with asking(api):
        return seconds(api.info()["SystemTime"])


def seconds(written: str) -> float:
    """2026-01-31T10:00:00.123456789Z in seconds since the epoch. (Python reads microseconds at most.)"""
    from datetime import datetime

    found = re.fullmatch(r"([^.Z+]+?)(\.\d+)?(Z|[+-]\d\d:\d\d)", written)
    if found is None:
        raise Unavailable(f"the Docker Engine writes a time as {written}")
    whole = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return whole.timestamp() + float(found[2] or 0)
