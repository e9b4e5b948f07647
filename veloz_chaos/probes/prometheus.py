"""Ask Prometheus for one number, or read it from a page of metrics.

`value` is the number, `json` {value, age}. Nothing is never 0: an empty result is an error, and so are several samples
and NaN. A query costs two requests at once, for Prometheus tells a sample's age only where `timestamp(query)` is asked.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import field, replace
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.mechanisms import exposition, http

PAGE = 16 << 20  # bytes of metrics


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Prometheus(Probe):
    """`api` and `query`, or `scrape` and `sample` (a subset of its labels is enough, if one series alone has them).

    `age` in seconds: of the sample as Prometheus has it, by Prometheus's own clock; 0 for what it computes, null for a
    scalar. Of a scraped sample with a timestamp by our clock, else 0. `status` is HTTP's, `error` as of the probe http,
    or: no sample, `N samples; …`, NaN, `HTTP 503`, `query: …` (what Prometheus has against it), `unreadable: …`.
    """

    api: str | None = None
    query: str | None = None
    scrape: str | None = None
    sample: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: certificates to trust instead of the system's
    ca: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        given = {name for name in ("api", "query", "scrape", "sample") if getattr(self, name) is not None}
        if given not in ({"api", "query"}, {"scrape", "sample"}):
            raise ValueError("give api and query, or scrape and sample")
        http.check(self.address())
        if self.sample is not None:
            exposition.series(self.sample)

    def address(self) -> str:
        """The URL as it is written, templates unfilled."""
        return str(self.api if self.api is not None else self.scrape)

    async def open(self, eye: Eye) -> None:
        await self._way(eye).open(self.address())

    async def look(self, eye: Eye) -> Seen:
        async with asyncio.timeout(eye.timeout.total_seconds()):
            if self.query is None:
                return _scraped(await self._get("", eye), exposition.series(self.sample or ""))
            query = eye.fill(self.query)
            seen, timed = await asyncio.gather(self._asked(query, eye), self._asked(f"timestamp({query})", eye))
            return _told(seen, timed)

    async def _asked(self, query: str, eye: Eye) -> Seen:
        return await self._get(f"/api/v1/query?query={quote(query, safe='')}", eye)

    async def _get(self, path: str, eye: Eye) -> Seen:
        written = self.address()
        url = http.filled(written, eye.fill(written).rstrip("/") + path if path else eye.fill(written))
        headers = {name: eye.fill(value) for name, value in self.headers.items()}
        return await http.ask(url, http.get(written, url, headers), self._way(eye), PAGE)

    def _way(self, eye: Eye) -> http.Way:
        return http.Way(self.ca and eye.fill(self.ca), self.verify)


def _scraped(page: Seen, wanted: exposition.Series) -> Seen:
    seen = Seen(status=page.status, error=page.error, latency=page.latency)
    if page.error or page.status != 200:
        return replace(seen, error=page.error or f"HTTP {page.status}")
    try:
        found = exposition.samples(page.text, wanted)
    except ValueError as error:
        return replace(seen, error=f"unreadable: {error}")
    if len(found) != 1:
        return replace(seen, error=_not_one(len(found), "sample"))
    return _number(seen, found[0].value, _age(found[0], page.headers.get("content-type", "")))


def _age(sample: exposition.Sample, kind: str) -> float:
    if sample.timestamp is None:
        return 0.0
    written = sample.timestamp if "openmetrics" in kind else sample.timestamp / 1000
    return max(0.0, time.time() - written)


def _told(answer: Seen, timed: Seen) -> Seen:
    seen = Seen(status=answer.status)
    if answer.error:
        return replace(seen, error=answer.error)
    try:
        kind, result = _result(answer)
    except LookupError as error:
        return replace(seen, error=str(error.args[0]))
    samples = [result] if kind == "scalar" else [each["value"] for each in result]
    if len(samples) != 1:
        return replace(seen, error=_not_one(len(samples), "query"))
    return _number(seen, float(samples[0][1]), _told_age(timed))


def _result(answer: Seen) -> tuple[str, Any]:
    """`scalar` or `vector`, and the result. Raises LookupError, with what is wrong."""
    told = answer.json if isinstance(answer.json, dict) else {}
    if told.get("status") == "error":
        raise LookupError(f"query: {told.get('error', '')}")
    data = told.get("data") if answer.status == 200 else None
    if not isinstance(data, dict):
        raise LookupError(f"HTTP {answer.status}" if answer.status != 200 else "not the API of Prometheus")
    if data.get("resultType") not in ("scalar", "vector"):
        raise LookupError(f"query: it yields a {data.get('resultType')}; write one that yields a number")
    if any("value" not in each for each in data["result"] if data["resultType"] == "vector"):
        raise LookupError("query: it yields a histogram; write one that yields a number")
    return str(data["resultType"]), data["result"]


def _told_age(timed: Seen) -> float | None:
    try:
        kind, result = _result(timed)
    except LookupError:
        return None
    if timed.error or kind != "vector" or len(result) != 1:
        return None
    now, at = result[0]["value"]
    return max(0.0, float(now) - float(at))


def _not_one(count: int, what: str) -> str:
    return "no sample" if count == 0 else f"{count} samples; make the {what} yield one"


def _number(seen: Seen, value: float, age: float | None) -> Seen:
    if math.isnan(value):
        return replace(seen, error="NaN")
    return replace(seen, value=value, json={"value": value, "age": age})


PROBE = Prometheus
