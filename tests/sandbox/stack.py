"""A running sandbox as tests use it: plain HTTP without retries, waiting by deadline, the truth logs, the processes."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from veloz_chaos.sandbox import volume
from veloz_chaos.sandbox.control import Sandbox

PATIENCE = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
T = TypeVar("T")


class Answer(NamedTuple):
    """`status` is 0 if there was no answer in time."""

    status: int
    text: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def call(url: str, method: str = "GET", body: object = None, seconds: float = 5.0, agent: str = "tests") -> Answer:
    data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    headers = {"User-Agent": agent, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with _OPENER.open(request, timeout=seconds) as answer:
            return Answer(answer.status, answer.read().decode(), dict(answer.headers))
    except urllib.error.HTTPError as refusal:
        with refusal:
            return Answer(refusal.code, refusal.read().decode(), dict(refusal.headers))
    except OSError:
        return Answer(0)


def until(look: Callable[[], T], within: float = PATIENCE) -> T:
    """The first truthy thing seen."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not seen within {within} s"
        time.sleep(0.02)


def let_pass(seconds: float) -> None:
    """Where it is the passing of time itself that matters, and there is no event to wait for."""
    time.sleep(seconds)


class Stack:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.directory = sandbox, sandbox.directory

    def gateway(self, path: str, body: object = None, seconds: float = 5.0) -> Answer:
        method = "GET" if body is None else "POST"
        return call(self.sandbox.url("gateway") + path, method, body, seconds)

    def exchange(self, method: str, path: str, **parameters: object) -> Answer:
        query = urllib.parse.urlencode(parameters)
        return call(f"{self.sandbox.url('exchange')}/api/v3/{path}?{query}", method)

    def links(self, method: str, path: str, body: object = None) -> Answer:
        return call(self.sandbox.url("links") + path, method, body)

    def service(self, name: str) -> Any:
        return call(self.sandbox.url("supervisor") + "/status").json["services"][name]

    def order(self, name: str, seconds: float = 5.0, **fields: object) -> Answer:
        """Far from the market and immediate-or-cancel unless told otherwise: it expires and moves nothing."""
        order = {"side": "BUY", "symbol": "BTCUSDT", "qty": 0.01, "price": 20000, "time_in_force": "IOC"}
        return self.gateway("/api/order", {**order, "client_order_id": name, **fields}, seconds)

    def healthy(self) -> bool:
        answer = self.gateway("/health", seconds=1)
        return answer.status == 200 and bool(answer.json["status"] == "ok")

    def pid(self, name: str) -> int:
        return int((self.directory / f"{name}.pid").read_text())

    def kill(self, name: str, number: int) -> int:
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    @contextmanager
    def unattended(self) -> Iterator[None]:
        """Its supervisor stands still meanwhile: what dies stays dead for as long as somebody looks at that."""
        supervisor = self.kill("supervisor", signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def persisted(self) -> bool:
        """Whether all that the gateway has to write is in the database."""
        part = self.gateway("/health").json["database"]
        return bool(part["status"] == "ok" and part["pending"] == 0)

    @property
    def volume(self) -> Path:
        """The gateway's log volume, as it is seen from here."""
        return volume.from_outside(self.directory, self.pid("supervisor"))

    def log(self) -> str:
        """What the gateway logs now; "" just after a rotation."""
        file = self.volume / volume.LOG
        return file.read_text() if file.exists() else ""

    def truth(self, process: str, event: str) -> list[dict[str, Any]]:
        lines = (self.directory / "truth" / f"{process}.jsonl").read_text().splitlines()
        return [fields for fields in map(json.loads, lines) if fields["event"] == event]


def works_in(process: Path, directory: Path) -> bool:
    """Whether the working directory of a process, which is a folder of /proc, is within a directory."""
    try:
        return (process / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False


def processes_of(directory: Path) -> list[str]:
    """The command lines of living processes that name the directory, and of PostgreSQL's that work in it."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        named = str(directory) in line and ("veloz_chaos.sandbox" in line or "postgres" in line)
        if named or ("postgres" in line and works_in(file.parent, directory)):
            lines.append(line)
    return lines
