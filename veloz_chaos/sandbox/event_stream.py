"""Server-sent events: every change of an order with its id, resumable; changes of state without one; a keep-alive.

A client that comes back with `?last_id=` or `Last-Event-ID` gets what it missed first.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque

from aiohttp import web

KEPT = 5_000
KEEP_ALIVE = 2.0


class EventStream:
    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._clients: set[asyncio.Queue[bytes]] = set()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def publish(self, event: str, data: object, number: int | None = None) -> None:
        """Send to all who listen; keep it for those who come back if it has a number."""
        head = f"id: {number}\n" if number is not None else ""
        message = f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode()
        if number is not None:
            self._kept.append((number, message))
        for client in self._clients:
            client.put_nowait(message)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        last_id = request.query.get("last_id") or request.headers.get("Last-Event-ID") or ""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        for message in self._missed_since(last_id):
            queue.put_nowait(message)
        self._clients.add(queue)
        try:
            await _pump(queue, response)
        except OSError:
            pass
        finally:
            self._clients.discard(queue)
        return response

    def _missed_since(self, last_id: str) -> list[bytes]:
        if not last_id.isdigit():
            return []
        return [message for number, message in self._kept if number > int(last_id)]


async def _pump(queue: asyncio.Queue[bytes], response: web.StreamResponse) -> None:
    await response.write(b": connected\n\n")
    while True:
        try:
            message = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
        except TimeoutError:
            message = b": keep-alive\n\n"
        await response.write(message)
