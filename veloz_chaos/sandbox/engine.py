"""The engine: risk checks and books behind a TCP port that speaks JSON lines, with a checkpoint it restores at start.

A message is {"type": …, "id": …, …}; the answer carries the same id. Types: HELLO, PING (answered by PONG; a bare line
`PING` by a bare `PONG`), ORDER, RESULT, POSITIONS, ACCOUNT. Every change is checkpointed before it is answered.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veloz_chaos.sandbox import ledger as books
from veloz_chaos.sandbox import process
from veloz_chaos.sandbox.ledger import Entry, Ledger
from veloz_chaos.sandbox.settings import Settings
from veloz_chaos.sandbox.truth import TruthLog

Message = dict[str, Any]


class Engine:
    def __init__(self, checkpoint: Path) -> None:
        self._ledger = restored(checkpoint)
        process.write_atomically(checkpoint, json.dumps(books.to_dict(self._ledger)))
        self._changes = os.open(changes_of(checkpoint), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o644)
        self._answers: dict[str, Callable[[Message], Message]] = {
            "HELLO": lambda _: {"type": "HELLO", "ok": True, "pid": os.getpid()},
            "PING": lambda _: {"type": "PONG", "ok": True},
            "ORDER": self._order,
            "RESULT": self._result,
            "POSITIONS": lambda _: {"ok": True, "positions": books.positions(self._ledger)},
            "ACCOUNT": lambda _: {"ok": True, "balances": books.balances(self._ledger)},
        }

    def answer(self, line: bytes) -> bytes:
        """The answer to one line, as a line."""
        if line.strip() == b"PING":
            return b"PONG\n"
        try:
            message = json.loads(line)
            reply = self._answers[message["type"]](message)
        except (ValueError, KeyError, TypeError, ArithmeticError) as problem:
            message, reply = {}, {"ok": False, "error": "bad_message", "message": repr(problem)}
        return json.dumps({"type": "REPLY", "id": message.get("id"), **reply}).encode() + b"\n"

    def _order(self, message: Message) -> Message:
        reason = books.accept(self._ledger, message["client_order_id"], Entry(**message["order"]))
        if reason is not None:
            return {"ok": False, "error": "risk_rejected", "message": reason}
        self._save(message)
        return {"ok": True}

    def _result(self, message: Message) -> Message:
        if books.settle(self._ledger, message["client_order_id"], Entry(**message["order"])):
            self._save(message)
        return {"ok": True}

    def _save(self, message: Message) -> None:
        os.write(self._changes, json.dumps(message).encode() + b"\n")


def changes_of(checkpoint: Path) -> Path:
    """What came since the checkpoint was written: one line a change, so that an old engine is as fast as a new one."""
    return checkpoint.with_name("changes.jsonl")


def restored(checkpoint: Path) -> Ledger:
    """The books of the last checkpoint and of every whole line since; telling a change twice changes nothing."""
    ledger = books.from_dict(json.loads(checkpoint.read_text())) if checkpoint.exists() else Ledger()
    changes = changes_of(checkpoint)
    for line in changes.read_bytes().split(b"\n")[:-1] if changes.exists() else []:
        message = json.loads(line)
        take = books.accept if message["type"] == "ORDER" else books.settle
        take(ledger, message["client_order_id"], Entry(**message["order"]))
    return ledger


async def talk(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer line by line until the other side is gone."""
    try:
        while line := await reader.readline():
            writer.write(engine.answer(line))
            await writer.drain()
    except (OSError, ValueError):
        pass
    finally:
        writer.close()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    (settings.directory / "engine").mkdir(exist_ok=True)
    engine = Engine(settings.directory / "engine" / "checkpoint.json")
    server = await asyncio.start_server(lambda *ends: talk(engine, *ends), settings.listen, settings.ports["engine"])
    TruthLog(settings.directory, "engine").write("serving", pid=os.getpid())
    process.ready()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    process.run(serve)
