"""A probe: one way of looking. One file in `probes/` each; the dataclass fields are its YAML keys.

A look is one attempt: new connection, no retry, no redirect, no proxy from the environment, no cached name. What it
saw becomes the variables of the probe's condition; refused, reset and TLS failures are answers too (`error`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from json import loads
from typing import Any, ClassVar


@dataclass(frozen=True)
class Seen:
    """One answer. `status` 0 where the protocol has none or nothing came; `error` empty if the look went well."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    text: str = ""
    error: str = ""
    value: Any = None
    #: 0: as long as the look took from asked to answered
    latency: timedelta | None = None


@dataclass(frozen=True)
class Eye:
    """What a look may use of its surroundings."""

    timeout: timedelta
    #: fills `${unique}`, `${env:…}`, `${file:…}` in a text just before it is used
    fill: Callable[[str], str]
    #: the latest counts of the workload; None where none runs
    workload: Callable[[], Mapping[str, Any] | None] = lambda: None


class Probe(ABC):
    """Subclasses are pydantic dataclasses that forbid extra keys."""

    #: The condition if the environment gives none.
    default_ok: ClassVar[str] = "error == ''"
    #: It asks the platform of a target, and looks besides its period whenever that has told something of itself.
    prompted: ClassVar[bool] = False

    async def open(self, eye: Eye) -> None:  # noqa: B027
        """Once before the first look (a log remembers where it ends). Raises errors.Error."""

    def struck(self) -> None:  # noqa: B027
        """The fault has just been found in place (a log remembers how long it was then). Called once; no blocking."""

    async def close(self) -> None:  # noqa: B027
        """The run is over (a subscription ends with it). Safe if it was never opened; given a second."""

    @abstractmethod
    async def look(self, eye: Eye) -> Seen:
        """One attempt. Raises TimeoutError if it got no answer in `eye.timeout`; bounded by the caller as well."""


def parsed(text: str) -> Any:
    """The JSON of an answer; None if it isn't any. NaN and the infinities are not."""
    try:
        return loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def _no_number(name: str) -> None:
    raise ValueError(name)
