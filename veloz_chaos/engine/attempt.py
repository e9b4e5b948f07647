"""One request of a workload: its template filled for an order, sent once, and the answer read by its conditions."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from veloz_chaos.core import condition
from veloz_chaos.core.workload import ORDER_NAMES, Action, HttpTemplate, Order
from veloz_chaos.engine.clock import now
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import UsageError
from veloz_chaos.mechanisms.keep_alive import Answer, Pool, Protocol
from veloz_chaos.probes import parsed, why

Outcome = Literal["accepted", "refused", "unknown"]
_SECRET = r"(?P<secret>\$\{(?P<kind>env|file|session):[^}]+\})"
_PIECE = re.compile(r"\$\$\{|\$\{(?P<name>" + "|".join(ORDER_NAMES) + r")\}|" + _SECRET)
_SAFE = "%/:=&?~#+!$,;'@()*[]"
#: Characters of an answer that are kept to say why.
KEPT = 160


@dataclass(frozen=True)
class Done:
    """What became of a request; `at` in boot-time nanoseconds."""

    outcome: Outcome
    status: int
    why: str
    at: int


class Template:
    """A text whose gaps are filled for each order; secrets are filled in here, once, but for the tokens of sessions."""

    def __init__(self, text: str, secrets: Secrets, escape: Callable[[str], str] = str) -> None:
        self._parts: list[str | int | Callable[[], str]] = []
        end = 0
        for piece in _PIECE.finditer(text):
            self._parts.append(text[end : piece.start()])
            self._parts.append(_filled(piece, secrets, escape))
            end = piece.end()
        self._parts.append(text[end:])

    def of(self, order: Order) -> str:
        return "".join(
            part if isinstance(part, str) else order[part] if isinstance(part, int) else part() for part in self._parts
        )


def _filled(piece: re.Match[str], secrets: Secrets, escape: Callable[[str], str]) -> str | int | Callable[[], str]:
    if piece["name"]:
        return ORDER_NAMES.index(piece["name"])
    if not piece["secret"]:
        return "${"

    def filled() -> str:
        return escape(secrets.fill(piece["secret"]))

    return filled if piece["kind"] == "session" else filled()


class Request:
    """The bytes of a request for each order, and the connections they go over. Raises UsageError for a bad secret."""

    def __init__(self, http: HttpTemplate, secrets: Secrets) -> None:
        url = urlsplit(secrets.fill(http.url))
        target = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_SAFE + "{}")
        headers = {"host": url.netloc, "user-agent": "veloz-chaos", "accept": "*/*"}
        headers |= {"content-type": "application/json"} if http.json_ is not None else {}
        headers |= {name.lower(): value for name, value in http.headers.items()}
        lines = [f"{http.method.upper()} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\n" in secrets.fill(line) or "\r" in secrets.fill(line) for line in lines):
            raise UsageError(f"{http.url}: a header holds what HTTP does not allow")
        self._head = Template("\r\n".join(lines), secrets)
        if http.json_ is not None:
            self._body = Template(json.dumps(http.json_), secrets, lambda value: json.dumps(value)[1:-1])
        else:
            self._body = Template(http.body or "", secrets)
        self._expects = http.method in ("post", "put")
        trust = _trust(http.ca and secrets.fill(http.ca), http.verify) if url.scheme == "https" else None
        self.pool = Pool(url, trust)

    def of(self, order: Order) -> bytes:
        body = self._body.of(order).encode()
        length = f"\r\ncontent-length: {len(body)}" if body or self._expects else ""
        return f"{self._head.of(order)}{length}\r\n\r\n".encode() + body

    async def ask(self, order: Order, seconds: float) -> Answer | str:
        """The whole answer, or the word for why there is none."""
        try:
            async with asyncio.timeout(seconds):
                return await self.pool.ask(self.of(order))
        except TimeoutError:
            return "timeout"
        except Protocol as error:
            return f"protocol: {error}"
        except OSError as error:
            return _word(error)


def _trust(ca: str | None, verify: bool) -> ssl.SSLContext:
    try:
        trust = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise UsageError(f"ca: {ca}: {error.strerror or error}") from None
    if not verify:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


def _word(error: OSError) -> str:
    """What the other side did; what is not its doing (no descriptors left) starts with `local: `."""
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    try:
        return why(error)
    except OSError:
        return f"local: {error.strerror}" if error.errno else "unreachable"


class Attempt:
    """A place or a cancel of a workload."""

    def __init__(self, action: Action, timeout: timedelta, secrets: Secrets) -> None:
        self._request = Request(action.http, secrets)
        self._accepted = condition.compile(action.accepted)
        self._refused = condition.compile(action.refused)
        self._names = self._accepted.names | self._refused.names
        self._seconds = timeout.total_seconds()
        self._secrets = secrets

    async def attempt(self, order: Order) -> Done:
        """Once, never again. Ends within the workload's time-out."""
        asked = now()
        answer = await self._request.ask(order, self._seconds)
        at = now()
        if isinstance(answer, str):
            return Done("unknown", 0, self._secrets.redact(answer), at)
        outcome = self._judged(read_variables(answer, at - asked, self._names))
        return Done(outcome, answer.status, "" if outcome == "accepted" else self._said(answer), at)

    def _judged(self, variables: Mapping[str, Any]) -> Outcome:
        try:
            if self._accepted.holds(variables):
                return "accepted"
            return "refused" if self._refused.holds(variables) else "unknown"
        except condition.ConditionTypeError:
            return "unknown"

    def _said(self, answer: Answer) -> str:
        text = " ".join(answer.body[: 4 * KEPT].decode("utf-8", "replace").split())
        return self._secrets.redact(text)[:KEPT]


def read_variables(answer: Answer, took: int, names: frozenset[str]) -> dict[str, Any]:
    """What conditions may ask for; only these names of it, because each costs time. `took` in nanoseconds."""
    variables: dict[str, Any] = {"status": answer.status, "headers": dict(answer.headers), "error": "", "value": None}
    variables["latency"] = timedelta(microseconds=took / 1000)
    if "text" in names or "json" in names:
        variables["text"] = answer.body.decode("utf-8", "replace")
    if "json" in names:
        variables["json"] = parsed(variables["text"])
    if "now" in names:
        variables["now"] = datetime.now(UTC)
    return {name: value for name, value in variables.items() if name in names}
