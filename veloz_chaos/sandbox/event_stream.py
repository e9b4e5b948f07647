"""Server-sent events: every change of an order with its id, resumable; changes of state without one; a keep-alive.

The ids are the numbers of the order log's lines: consecutive, and going on over restarts. A client that comes back
with `?last_id=` or `Last-Event-ID` first gets what it missed, however much, then what happens.
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from veloz_chaos.sandbox.order_log import OrderLog
from veloz_chaos.sandbox.order_store import shown

KEEP_ALIVE = 2.0
#: So many missed events are sent between two looks at what else there is to do.
AT_ONCE = 500


class EventStream:
    """`resumes=False` is the flaw sse-never-resumes."""

    def __init__(self, history: OrderLog, resumes: bool = True) -> None:
        self._history, self._resumes = history, resumes
        self._clients: set[asyncio.Queue[bytes]] = set()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def publish(self, event: str, data: object, number: int | None = None) -> None:
        """Send to all who listen; what has a number is in the history for those who come back."""
        if not self._clients:
            return
        text = message(event, data, number)
        for client in self._clients:
            client.put_nowait(text)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        last_id = request.query.get("last_id") or request.headers.get("Last-Event-ID") or ""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._clients.add(queue)
        last, newest = (int(last_id) if last_id.isdigit() else None), len(self._history)
        try:
            await response.write(b": connected\n\n")
            if last is not None and self._resumes:
                await self._catch_up(response, last, newest)
            await _pump(queue, response)
        except OSError:
            pass
        finally:
            self._clients.discard(queue)
        return response

    async def _catch_up(self, response: web.StreamResponse, last: int, newest: int) -> None:
        for start in range(last, newest, AT_ONCE):
            lines = self._history.lines(start, min(start + AT_ONCE, newest))
            await response.write(b"".join(message("order", shown(json.loads(line)), n) for n, line in lines))
            await asyncio.sleep(0)


def message(event: str, data: object, number: int | None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


async def _pump(queue: asyncio.Queue[bytes], response: web.StreamResponse) -> None:
    while True:
        try:
            message = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
        except TimeoutError:
            message = b": keep-alive\n\n"
        await response.write(message)
