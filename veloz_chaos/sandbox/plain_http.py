"""Just enough HTTP for the supervisor, which must start fast, and the watcher: ask for a status code, answer GETs with
JSON or text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from veloz_chaos.sandbox.settings import LOOPBACK


async def get_status(port: int, path: str, seconds: float) -> int | None:
    """The status code of a GET on loopback, over a new connection; None if there is no answer within the time."""
    try:
        async with asyncio.timeout(seconds):
            return await _get_status(port, path)
    except (OSError, EOFError, ValueError, TimeoutError):
        return None


async def _get_status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readuntil(b"\r\n")
        return int(status_line.split()[1])
    finally:
        writer.close()


async def serve(port: int, answers: Mapping[str, Callable[[], object]], listen: str = LOOPBACK) -> asyncio.Server:
    """Answer a GET of one of the paths with what that gives: text as it is, all else as JSON; anything else with 404.
    One request per connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            method, path = head.split()[:2]
            answer = answers.get(path.decode()) if method == b"GET" else None
            writer.write(_response(200, answer()) if answer else _response(404, {"error": "not found"}))
            await writer.drain()
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(handle, listen, port)


def _response(status: int, body: object) -> bytes:
    kind = "text/plain; version=0.0.4; charset=utf-8" if isinstance(body, str) else "application/json"
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    reason = {200: "OK", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content
