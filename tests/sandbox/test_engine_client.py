"""The gateway's line to the engine: lost is what does not answer, not what could not be heard meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from socketserver import StreamRequestHandler

from tests.infra.upstreams import LineServer, served
from veloz_chaos.sandbox.engine_client import LOST_AFTER, EngineClient


def test_who_stood_still_has_not_lost_the_engine_that_answers() -> None:
    silent, told = threading.Event(), asyncio.Queue[tuple[bool, str]]()

    class Engine(StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if not silent.is_set():
                    self.wfile.write(line)

    async def scenario(port: int) -> None:
        client = EngineClient(port, lambda *change: told.put_nowait(change))
        running = asyncio.create_task(client.run())
        assert await told.get() == (True, "HELLO answered")
        for _ in range(3):
            await asyncio.sleep(0.1)
            time.sleep(1.5 * LOST_AFTER)  # nothing in this process goes on, as under SIGSTOP
        await asyncio.sleep(0.5)
        assert told.empty()
        silent.set()
        assert await told.get() == (False, "no answer to the heartbeat")
        running.cancel()

    with served(LineServer(("127.0.0.1", 0), Engine)) as address:
        asyncio.run(scenario(int(address.partition(":")[2])))
