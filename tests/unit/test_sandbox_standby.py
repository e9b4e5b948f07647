"""Of two that keep their state in one folder one serves, and the other passes on to it until it takes over."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

from veloz_chaos.sandbox import standby
from veloz_chaos.sandbox.settings import Settings


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_the_second_passes_on_to_the_first_and_then_takes_over(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    ports = [free_port(), free_port()]

    async def serve(made: Settings, stop: asyncio.Event) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline() + f"by {made.ports['gateway']}\n".encode())
            writer.close()

        server = await asyncio.start_server(answer, made.listen, made.ports["gateway"])
        await stop.wait()
        server.close()

    async def answered(port: int) -> bytes:
        """Once somebody does."""
        for _ in range(100):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"who?\n")
                said = await reader.read()
            except OSError:
                said = b""
            if said:
                return said
            await asyncio.sleep(0.02)
        return b"nobody"

    async def story() -> list[bytes]:
        stops = [asyncio.Event(), asyncio.Event()]
        made = [replace(Settings(tmp_path, {}), ports={"gateway": port}) for port in ports]
        running, said = list[asyncio.Future[None]](), list[bytes]()
        for one, stop in zip(made, stops, strict=True):
            address = f"127.0.0.1:{one.ports['gateway']}"
            running.append(asyncio.ensure_future(standby.alone(serve, "gateway", address)(one, stop)))
            said.append(await answered(one.ports["gateway"]))
        stops[0].set()
        await running[0]
        await asyncio.sleep(2 * standby.LOOK_EVERY)
        said.append(await answered(ports[1]))
        stops[1].set()
        await running[1]
        return said

    first, second = (f"who?\nby {port}\n".encode() for port in ports)
    assert asyncio.run(story()) == [first, first, second]


def test_a_standby_that_is_told_to_end_never_serves(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    served = []

    async def serve(made: Settings, stop: asyncio.Event) -> None:
        served.append(made)
        await stop.wait()

    async def story() -> None:
        stops = [asyncio.Event(), asyncio.Event()]
        made = Settings(tmp_path, {"engine": 1})
        both = [asyncio.ensure_future(standby.alone(serve, "engine")(made, stop)) for stop in stops]
        await asyncio.sleep(3 * standby.LOOK_EVERY)
        for stop in reversed(stops):
            stop.set()
            await asyncio.sleep(2 * standby.LOOK_EVERY)
        await asyncio.gather(*both)

    asyncio.run(story())
    assert len(served) == 1
