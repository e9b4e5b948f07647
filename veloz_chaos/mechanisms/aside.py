"""A blocking call beside the loop, in a thread of its own.

While a resolver or a disk hangs (the fault may be just that), the next look must neither queue behind the last one nor
keep the program from ending: so no pool, and the threads are daemons.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

#: Never more calls at once: each holds a thread, and maybe a descriptor, until it returns.
CALLS = 128

T = TypeVar("T")

_open = threading.BoundedSemaphore(CALLS)


async def aside(call: Callable[[], T], *raises: type[Exception]) -> T:
    """What it returns, or raises of OSError and `raises`; TimeoutError if too many calls have not come back."""
    if not _open.acquire(blocking=False):
        raise TimeoutError(f"the system owes {CALLS} answers")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(settled: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            settled(value)

    def run() -> None:
        try:
            settled, value = _outcome(answer, call, (OSError, *raises))
        finally:
            _open.release()
        with suppress(RuntimeError):  # the loop is gone, and the look with it
            loop.call_soon_threadsafe(settle, settled, value)

    _start(run)
    return await answer


def _outcome(
    answer: asyncio.Future[T], call: Callable[[], T], raises: tuple[type[Exception], ...]
) -> tuple[Callable[[Any], None], Any]:
    try:
        return answer.set_result, call()
    except raises as error:
        return answer.set_exception, error


def _start(run: Callable[[], None]) -> None:
    try:
        threading.Thread(target=run, daemon=True, name="aside").start()
    except RuntimeError:
        _open.release()
        raise
