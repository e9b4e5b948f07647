"""One subscription over a real server's good and bad days."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.infra.toxiproxy import free_port
from veloz_chaos.core import condition
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.sse import PROBE, Sse

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def eye(fill: Callable[[str], str] = str, seconds: float = 20) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


class Stream:
    """Numbers its events; sends those that came meanwhile again unless it forgets them."""

    def __init__(self) -> None:
        self.number = 0
        self.kept: list[tuple[int, str]] = []
        self.forgets = False
        self.answer = HEAD
        self.asked: list[str] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None
        self.port = free_port()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.handle, "127.0.0.1", self.port)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        writer.write(self.answer)
        if self.answer == HEAD:
            self.send(writer, ": connected\n\n")
            found = re.search(r"last_id=(\d+)|last-event-id: (\d+)", head.lower())
            for number, text in self.kept if not self.forgets else []:
                if found is not None and number > int(found[1] or found[2]):
                    self.send(writer, text)
            self.writers.add(writer)
            await reader.read()
        self.writers.discard(writer)
        writer.close()

    @staticmethod
    def send(writer: asyncio.StreamWriter, text: str) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(text.encode()), text.encode()))

    def publish(self, event: str = "order", numbered: bool = True) -> None:
        self.number += numbered
        text = (f"id: {self.number}\n" if numbered else "") + f"event: {event}\ndata: {{}}\n\n"
        if numbered:
            self.kept.append((self.number, text))
        for writer in self.writers:
            self.send(writer, text)

    def drop(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    def stop(self) -> None:
        self.drop()
        if self.server is not None:
            self.server.close()
            self.server = None


@asynccontextmanager
async def streaming() -> AsyncIterator[Stream]:
    stream = Stream()
    await stream.start()
    try:
        yield stream
    finally:
        stream.stop()


@asynccontextmanager
async def subscribed(stream: Stream, fill: Callable[[str], str] = str, **keys: Any) -> AsyncIterator[Sse]:
    probe = Sse(**{"url": f"http://127.0.0.1:{stream.port}/api/stream"} | keys)
    await probe.open(eye(fill))
    try:
        yield probe
    finally:
        await probe.close()


async def until(probe: Sse, holds: Callable[[Seen], bool]) -> Seen:
    """The first look that shows it; the test's own time-out is the only bound."""
    while not holds(seen := await probe.look(eye())):
        await asyncio.sleep(0.005)
    return seen


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "a"},
        {"within": "0s"},
        {"within": 2},
        {"resume": "cookie"},
        {"events": "order"},
        {"reconnect": "0s"},
        {"url": "http://me:a@b"},
    ],
)
def test_says_what_is_wrong(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROBE(**{"url": "http://a/"} | keys)


def test_connected_and_counting() -> None:
    async def test() -> None:
        async with streaming() as stream, subscribed(stream, event="order") as probe:
            first = await probe.look(eye())
            assert (first.status, first.error, first.value) == (1, "", 0)
            assert (first.json["connected"], first.json["age_ms"], first.json["last_id"]) == (True, None, "")
            stream.publish("order")
            stream.publish("price", numbered=False)
            stream.publish("order")
            seen = await until(probe, lambda seen: seen.value == 2)
            assert seen.json | {"age_ms": 0} == {
                "connected": True, "events": 2, "age_ms": 0, "last_id": "2", "gaps": 0, "missed": 0, "resumes": 0,
                "consecutive": True,
            }  # fmt: skip
            assert seen.json["age_ms"] >= 0
            assert len(stream.asked) == 1

    run(test())


@pytest.mark.parametrize("resume", ["header", "query"])
def test_comes_back_with_its_last_id_and_misses_nothing(resume: str) -> None:
    async def test() -> None:
        async with streaming() as stream, subscribed(stream, resume=resume) as probe:
            stream.publish()
            stream.publish()
            await until(probe, lambda seen: seen.value == 2)
            stream.stop()
            away = await until(probe, lambda seen: seen.error == "refused")
            assert (away.status, away.json["connected"], away.json["last_id"]) == (0, False, "2")
            stream.publish()
            await stream.start()
            seen = await until(probe, lambda seen: seen.value == 3)
            assert (seen.error, seen.json["resumes"], seen.json["gaps"]) == ("", 1, 0)
            asked = stream.asked[-1].lower()
            assert ("last-event-id: 2" in asked, "/api/stream?last_id=2 " in asked) == (
                resume == "header", resume == "query",
            )  # fmt: skip

    run(test())


def test_a_server_that_forgets_leaves_a_gap_for_good() -> None:
    async def test() -> None:
        async with streaming() as stream, subscribed(stream) as probe:
            stream.publish()
            stream.publish()
            await until(probe, lambda seen: seen.value == 2)
            stream.forgets = True
            stream.drop()
            await until(probe, lambda seen: seen.status == 0)
            for _ in range(3):
                stream.publish()
            back = await until(probe, lambda seen: seen.status == 1)
            assert back.error == ""  # nothing came yet that could tell
            stream.publish()
            seen = await until(probe, lambda seen: seen.value == 3)
            assert (seen.status, seen.error, seen.json["gaps"], seen.json["missed"]) == (
                1,
                "gap: 3 events missed",
                1,
                3,
            )
            stream.publish()
            assert (await until(probe, lambda seen: seen.value == 4)).error == "gap: 3 events missed"
            ok = condition.compile(Sse.default_ok)
            assert not ok.holds({"error": seen.error})
            assert ok.holds({"error": back.error})

    run(test())


def test_an_event_has_to_come_within() -> None:
    async def test() -> None:
        async with streaming() as stream, subscribed(stream, event="order", within="300ms") as probe:
            silent = await until(probe, lambda seen: bool(seen.error))
            assert (silent.status, silent.error) == (1, "no event within 300ms")
            stream.publish("price")
            stream.publish("order")
            seen = await until(probe, lambda seen: seen.error == "")
            assert seen.value == 1
            await until(probe, lambda seen: seen.error == "no event within 300ms")

    run(test())


def test_it_stays_away_for_as_long_as_it_is_told() -> None:
    async def test() -> None:
        async with streaming() as stream, subscribed(stream, reconnect="1h") as probe:
            stream.drop()
            await until(probe, lambda seen: seen.status == 0)
            for _ in range(50):
                await asyncio.sleep(0.005)
                assert (await probe.look(eye())).status == 0
            assert len(stream.asked) == 1

    run(test())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "not an event stream"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not an event stream"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n", "ended"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed"),
        (b"", "closed"),
        (b"garbage\r\n\r\n", "protocol: "),
    ],
)
def test_what_is_no_stream(answer: bytes, error: str) -> None:
    async def test() -> None:
        async with streaming() as stream:
            stream.answer = answer
            async with subscribed(stream) as probe:
                seen = await until(probe, lambda seen: bool(seen.error))
                assert seen.error.startswith(error)
                assert seen.status == 0
                stream.answer = HEAD
                assert (await until(probe, lambda seen: seen.status == 1)).error == ""

    run(test())


def test_no_answer_in_time_is_tried_again() -> None:
    async def test() -> None:
        async with streaming() as stream:
            stream.answer = HEAD[:-2]
            probe = Sse(url=f"http://127.0.0.1:{stream.port}/")
            await probe.open(eye(seconds=0.1))
            assert (await probe.look(eye())).error in ("connecting", "timeout", "closed")
            stream.answer = HEAD
            await until(probe, lambda seen: seen.status == 1)
            await probe.close()

    run(test())


def test_nobody_is_there_yet() -> None:
    async def test() -> None:
        stream = Stream()
        async with subscribed(stream) as probe:
            assert (await probe.look(eye())).error == "refused"
            await stream.start()
            seen = await until(probe, lambda seen: seen.status == 1)
            assert seen.json["resumes"] == 0
            stream.stop()

    run(test())


def test_secrets_are_filled_at_each_connection() -> None:
    async def test() -> None:
        tokens = iter(["first", "second", "third"])

        def fill(text: str) -> str:
            return text.replace("${env:T}", next(tokens)) if "${env:T}" in text else text

        async with streaming() as stream, subscribed(stream, fill, headers={"Authorization": "${env:T}"}) as probe:
            stream.drop()
            await until(probe, lambda seen: seen.json["resumes"] == 1)
            assert [("first" in stream.asked[0]), ("second" in stream.asked[1])] == [True, True]

    run(test())


def test_a_filled_url_that_is_none_is_a_usage_error_at_the_look() -> None:
    async def test() -> None:
        probe = Sse(url="${env:URL}")
        await probe.open(eye(lambda text: text.replace("${env:URL}", "hush")))
        with pytest.raises(UsageError) as error:
            await probe.look(eye())
        assert "hush" not in str(error.value)
        await probe.close()

    run(test())


def test_closed_it_leaves_nothing() -> None:
    async def test() -> None:
        async with streaming() as stream:
            before = asyncio.all_tasks()
            async with subscribed(stream) as probe:
                stream.publish()
                await until(probe, lambda seen: seen.value == 1)
            while stream.writers:  # the server has noticed
                await asyncio.sleep(0.005)
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.005)
            await probe.close()

        await Sse(url="http://127.0.0.1:1/").close()

    run(test())
