"""Secrets come from `${env:NAME}`, `${file:path}` or a session's login when they are used, and never reach anything
that is written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from veloz_chaos.core.workload import LATE, ORDER_NAMES
from veloz_chaos.errors import UsageError

_REFERENCE = re.compile(r"\$\{(env|file|session):([^}]+)\}|\$\{unique\}|\$\$\{")

#: What stands under these keys of an event is no secret, whatever it looks like: our own words, names that people's
#: files give in the clear, and what takes a fault out, which must lead to its target and not to `[secret]`.
_OURS = frozenset({
    "event", "outcome", "by", "run", "boot_id", "fault", "probe", "what", "fate", "down", "left",
    "name", "step", "procedure", "service", "kind", "arguments", "reference", "receipt", "by_hand",
})  # fmt: skip


def kept(name: str) -> bool:
    """Names in `${…}` that are filled in only when a text is used."""
    return name == "unique" or name.startswith((*LATE, "each."))


def kept_by_orders(name: str) -> bool:
    """The same within a workload."""
    return name in ORDER_NAMES or name.startswith(LATE)


def new_id() -> str:
    """What `${unique}` becomes: an id that tells that it is ours."""
    return f"vc-{uuid4().hex[:20]}"


class Secrets:
    """Fills references in and remembers each value, so that `redact` finds it anywhere."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._tokens: dict[str, str] = {}

    def add(self, session: str, token: str) -> None:
        """From now on `${session:…}` becomes this."""
        self._values.add(token)
        self._tokens[session] = token

    def fill(self, text: str, unique: str = "") -> str:
        """`${unique}` becomes this one, or a new one. Raises UsageError for an unset variable or an unreadable file."""
        return _REFERENCE.sub(lambda match: self._one(match, unique), text) if "${" in text else text

    def fill_all(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self.fill_all(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self.fill_all(value) for value in data]
        return self.fill(data) if isinstance(data, str) else data

    def _one(self, match: re.Match[str], unique: str) -> str:
        if match.group(0) == "$${":
            return "${"
        if match.group(1) is None:
            return unique or new_id()
        value = self._tokens[match.group(2)] if match.group(1) == "session" else _read(match.group(1), match.group(2))
        if value:
            self._values.add(value)
        return value

    def redact(self, text: str) -> str:
        """The text without any secret used so far, also where JSON has escaped it."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "[secret]").replace(json.dumps(value)[1:-1], "[secret]")
        return text

    def redact_line(self, line: str) -> str:
        """The same in a line of JSON, inside its strings only: a secret of digits must not eat the numbers."""
        if self.redact(line) == line:
            return line
        data = json.loads(line)
        ours = _OURS | ({"cause"} if data["event"] == "run-ended" else set())
        safe = {key: value if key in ours else self._redacted(value) for key, value in data.items()}
        return json.dumps(safe, separators=(",", ":"), ensure_ascii=False)

    def _redacted(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self._redacted(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self._redacted(value) for value in data]
        return self.redact(data) if isinstance(data, str) else data


def references(data: Any) -> Iterator[tuple[str, str]]:
    """Every (kind, name) of a secret in the data that must be there beforehand."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from references(item)
    if isinstance(data, str):
        yield from ((m.group(1), m.group(2)) for m in _REFERENCE.finditer(data) if m.group(1) in ("env", "file"))


def missing(kind: str, name: str) -> str:
    """Why a secret cannot be had; empty if it can."""
    try:
        _read(kind, name)
    except UsageError as error:
        return str(error)
    return ""


def _read(kind: str, name: str) -> str:
    if kind == "env":
        if name not in os.environ:
            raise UsageError(f"${{env:{name}}} is not set; export {name}")
        return os.environ[name]
    try:
        return Path(name).expanduser().read_text().strip()
    except OSError as error:
        raise UsageError(f"${{file:{name}}} can't be read: {error.strerror}") from None
