"""A workload as people write it: an open flow of orders, how an answer is read, and how both sides are read back.

`${id} ${side} ${symbol} ${qty} ${price}` are filled in for each order; all else in a template is known before. Which
order comes when is decided by the seed alone: the n-th order of a seed is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, StringConstraints, model_validator

from veloz_chaos.core import condition, listing
from veloz_chaos.core.complaint import Path
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name, Written
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.size import Part
from veloz_chaos.core.substitute import references
from veloz_chaos.errors import Problem

#: What a template may name beside `${env:…}`, `${file:…}` and `${session:…}`.
ORDER_NAMES = ("id", "side", "symbol", "qty", "price")
LATE = ("env:", "file:", "session:")
#: Orders a second, at most.
FASTEST = 2000.0

#: 8/s, 60/m
Rate = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?/(s|m)$")]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
Amount = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?$")]
Side = Literal["BUY", "SELL"]
State = Literal["open", "filled", "cancelled", "expired", "rejected", "unknown"]
_METHODS = ("get", "post", "put", "delete")
_PLAIN = re.compile(r"\$\{[^{}]*\}")
_ADDRESS = re.compile(r"https?://[^/?#@\s$]+([/?].*)?", re.DOTALL)


def per_second(rate: str) -> float:
    number, unit = rate.split("/")
    return float(number) / {"s": 1, "m": 60}[unit]


class HttpTemplate(Written):
    """`{post: URL, json: {…}, headers: {…}}`"""

    get: str | None = None
    post: str | None = None
    put: str | None = None
    delete: str | None = None
    headers: dict[str, str] = {}
    json_: Any = None
    body: str | None = None
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if sum(getattr(self, name) is not None for name in _METHODS) != 1:
            raise ValueError(f"give exactly one of {', '.join(_METHODS)}")
        if self.json_ is not None and self.body is not None:
            raise ValueError("give json or body, not both")
        return self

    @property
    def method(self) -> str:
        return next(name for name in _METHODS if getattr(self, name) is not None)

    @property
    def url(self) -> str:
        return str(getattr(self, self.method))


class Action(Written):
    """What is sent, and by which answers it was accepted or refused; anything else is of unknown outcome."""

    http: HttpTemplate
    accepted: str
    refused: str


class Cancel(Action):
    """Such a share of the accepted orders is cancelled so long after their acceptance."""

    share: Part = 1.0
    after: Duration = timedelta(milliseconds=500)


class Reading(Written):
    """Where a side's orders are read: once, or once per symbol where the URL names `${symbol}`."""

    http: HttpTemplate
    #: gives the list of {id, state, qty, filled}
    orders: str


class Reads(Written):
    gateway: Reading
    exchange: Reading


class Workload(Written):
    rate: Rate
    timeout: Duration = timedelta(seconds=2)
    symbols: Annotated[list[Symbol], Field(min_length=1)]
    qty: Amount = "0.01"
    #: far from the market, so that nothing is traded; which sides are placed, too
    prices: dict[Symbol, Annotated[dict[Side, Amount], Field(min_length=1)]]
    place: Action
    cancel: Cancel | None = None
    #: by then unknown outcomes are settled on both sides
    settle: Duration = timedelta(seconds=10)
    read: Reads
    #: the sides' own words for an order's state
    states: dict[str, State]

    @property
    def period(self) -> int:
        """Nanoseconds from one order to the next."""
        return round(1e9 / per_second(self.rate))

    @property
    def cancelled(self) -> float:
        """The share of orders that are cancelled."""
        return self.cancel.share if self.cancel else 0.0

    @property
    def actions(self) -> dict[str, Action]:
        return {"place": self.place} | ({"cancel": self.cancel} if self.cancel else {})


class PlannedWorkload(Workload):
    """Secrets stay references here; the workload's own process fills them in."""

    name: Name


class Order(NamedTuple):
    """One order before it is sent; the fields are what a template may name."""

    id: str
    side: str
    symbol: str
    qty: str
    price: str


def order(workload: Workload, run: str, seed: int, number: int) -> tuple[Order, bool]:
    """The order of this number (from 1), and whether it is to be cancelled."""
    digest = sha256(f"{seed}:{number}".encode()).digest()
    symbol = workload.symbols[int.from_bytes(digest[:4]) % len(workload.symbols)]
    prices = workload.prices[symbol]
    side = sorted(prices)[int.from_bytes(digest[4:8]) % len(prices)]
    cancelled = int.from_bytes(digest[8:12]) < workload.cancelled * 2**32
    return Order(f"vc-{run}-{number:06}", side, symbol, workload.qty, prices[side]), cancelled


def asked_of(workload: Workload, base: str) -> float:
    """How many requests a second it sends to addresses that contain this text."""
    times = {"place": 1.0, "cancel": workload.cancelled}
    asked = sum(times[name] for name, action in workload.actions.items() if base in action.http.url)
    return asked * per_second(workload.rate)


# --- what is wrong with one, without looking at the world ---------------------------------------------------------

Complain = Callable[[Path, str, str], Problem]


def problems(workload: Workload, path: Path, complain: Complain) -> Iterator[Problem]:
    """Everything that would fail in a run; `path` is where it stands."""
    yield from _lengths(workload, path, complain)
    yield from _prices(workload, path, complain)
    for name, action in workload.actions.items():
        yield from template(action.http, (*path, name, "http"), ORDER_NAMES, complain)
        for key in ("accepted", "refused"):
            yield from _condition(getattr(action, key), (*path, name, key), condition.compile, complain)
        if name == "cancel" and "${id}" not in str(action.http.model_dump()):
            yield complain((*path, name, "http"), "it does not say which order to cancel", "write ${id} in it")
    for name in ("gateway", "exchange"):
        reading: Reading = getattr(workload.read, name)
        yield from template(reading.http, (*path, "read", name, "http"), ("symbol",), complain)
        yield from _condition(reading.orders, (*path, "read", name, "orders"), listing.compile, complain)
    if "${id}" not in str(workload.place.http.model_dump()):
        yield complain((*path, "place", "http"), "its orders have no id of ours", "write ${id} in it")


def _lengths(workload: Workload, path: Path, complain: Complain) -> Iterator[Problem]:
    if not 0 < per_second(workload.rate) <= FASTEST:
        yield complain((*path, "rate"), f"a rate is more than nothing and at most {FASTEST:g}/s", "write 20/s, say")
    if not workload.timeout:
        yield complain((*path, "timeout"), "`timeout` must be longer than 0s", "write 2s, say")


def _prices(workload: Workload, path: Path, complain: Complain) -> Iterator[Problem]:
    for number, symbol in enumerate(workload.symbols):
        if symbol not in workload.prices:
            remedy = f"write prices: {{{symbol}: {{BUY: …, SELL: …}}}}"
            yield complain((*path, "symbols", number), f"`{symbol}` has no price", remedy)
    for symbol in workload.prices:
        if symbol not in workload.symbols:
            remedy = did_you_mean(symbol, workload.symbols)
            yield complain((*path, "prices", symbol), f"`{symbol}` is none of the symbols", remedy)


def template(http: HttpTemplate, path: Path, names: tuple[str, ...], complain: Complain) -> Iterator[Problem]:
    """`names`: what it may name beside secrets, and the tokens of sessions."""
    written: Mapping[str, Any] = {http.method: http.url, "headers": http.headers, "json": http.json_, "body": http.body}
    for at, name in references(written, path):
        if name not in names and not name.startswith(LATE):
            remedy = did_you_mean(name, names)
            yield complain(at, f"a template can't name `{name}` here", remedy)
    if not _ADDRESS.fullmatch(http.url) and not http.url.startswith(("${env:", "${file:")):
        yield complain(
            (*path, http.method), "a URL is written http://host:port/path", "templates stand in its path or query"
        )


def _condition(text: str, path: Path, compile: Callable[[str], Any], complain: Complain) -> Iterator[Problem]:  # noqa: A002
    try:
        compile(text)
    except ValueError as error:
        yield complain(path, f"not a condition: {error}", "")
