"""What an HTTP service or a DNS server is made to answer: the keys of the faults `http` and `dns`, which are the fault
proxy's own too. Read from YAML or JSON, written the same way again."""

from __future__ import annotations

import re
from dataclasses import field
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import kebab
from veloz_chaos.core.size import Share, Size

CONFIG = ConfigDict(extra="forbid", alias_generator=kebab, validate_by_alias=True, validate_by_name=True)
PERIODS = {"s": 1.0, "m": 60.0}
SECOND = timedelta(seconds=1)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Our own looks say so, and are counted apart: a header `Veloz-Chaos-Look: POST /api/order`, struck as that would be
#: and not passed on, and an option of EDNS (the number is for local use).
LOOK_HEADER, LOOK_OPTION = "Veloz-Chaos-Look", 65_347
#: What frames a message is the proxy's own business.
_FRAMING = {"content-length", "transfer-encoding", "connection"}


def _upper(written: Any) -> Any:
    return written.upper() if isinstance(written, str) else written


def _parts(pattern: str, written: str) -> tuple[str, ...]:
    match = re.fullmatch(pattern, written)
    assert match
    return match.groups()


#: Requests in a period, `10/s` or `1200/m`.
Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}/(s|m)$")]
Method = Annotated[str, Field(pattern=r"^[A-Za-z]{1,20}$"), BeforeValidator(_upper)]
Path = Annotated[str, Field(pattern=r"^[/*][^\s?#]*$", max_length=500)]


@dataclass(frozen=True, config=CONFIG)
class HttpEffect:
    """With a status the request is answered at once and never reaches the upstream; without one it is passed on, and
    its answer changed: later, with other headers, broken off after so many bytes of its body."""

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    #: whole seconds, as HTTP has it
    retry_after: Duration | None = None
    share: Share = 1.0
    #: `*` stands for anything; the query does not count
    path: Path = "*"
    #: none: all
    methods: tuple[Method, ...] = ()
    delay: Duration = timedelta(0)
    truncate: Size | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    #: the exchange's own words and headers, for 429 and 418
    binance: bool = False
    #: a real limiter: what comes beyond it is answered by 429 and how long to wait
    rate: Rate | None = None

    @model_validator(mode="after")
    def _can_be(self) -> HttpEffect:
        for wrong, message in self._contradictions():
            if wrong:
                raise ValueError(message)
        return self

    def _contradictions(self) -> list[tuple[bool, str]]:
        wait, changed = self.retry_after, bool(self.delay or self.headers) or self.truncate is not None
        return [
            (self.status is None and self.rate is None and not changed,
             "give at least one effect: status, rate, delay, truncate or headers"),
            (self.status is None and self.body is not None, "a body needs a status to go with it"),
            (self.status is None and wait is not None, "retry-after needs a status, 429 or 503"),
            (self.binance and self.rate is None and self.status not in (418, 429), "binance needs status 429 or 418"),
            (wait is not None and (wait % SECOND != timedelta(0) or not wait), "retry-after counts in whole seconds"),
            (self.rate is not None and (self.status is not None or changed or self.share < 1),
             "a rate answers 429 by itself: only path, methods and binance go with it"),
            (self.status in (204, 304) and (self.body is not None or self.truncate is not None),
             f"an answer of {self.status} has no body"),
            (not all(_sound(*header) for header in self.headers.items()), "a header holds what HTTP does not allow"),
            (any(name.lower() in _FRAMING for name in self.headers), "content-length and its like set themselves"),
        ]  # fmt: skip

    def matches(self, method: str, path: str) -> bool:
        """`path` with or without its query."""
        if self.methods and method not in self.methods:
            return False
        return self._pattern.fullmatch(path.partition("?")[0]) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(".*".join(map(re.escape, self.path.split("*"))), re.DOTALL)

    @property
    def limit(self) -> tuple[int, float]:
        """Requests, and the seconds in which they may come."""
        count, period = _parts(r"(\d+)/(s|m)", self.rate or "")
        return int(count), PERIODS[period]

    def sample(self, method: str, path: str) -> tuple[str, str]:
        """A method and path that are hit, as near as can be to those given."""
        found = path if self.matches(self.methods[0] if self.methods else method, path) else self.path.replace("*", "x")
        return method if not self.methods or method in self.methods else self.methods[0], "/" + found.lstrip("/")


@dataclass(frozen=True, config=CONFIG)
class DnsEffect:
    """`names`: these and everything below them; none means all."""

    answer: Literal["nxdomain", "servfail", "none"]
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$", max_length=253)], ...] = ()

    def covers(self, name: str) -> bool:
        asked = f".{name.lower().rstrip('.')}"
        return not self.names or any(asked.endswith(f".{own.lower().rstrip('.')}") for own in self.names)


def _sound(name: str, value: str) -> bool:
    return bool(_TOKEN.fullmatch(name)) and value.isprintable() and value.isascii()
