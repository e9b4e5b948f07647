"""Run a command and see how it ends.

No shell, nothing to read, a session of its own. Everything in its process group ends with the time that the look has.
A background process that keeps the output open keeps the look open too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from contextlib import suppress
from dataclasses import field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.probes import parsed

LIMIT = 1 << 20  # bytes kept of each output; the rest is read and forgotten
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as shells have it, so that `status == 0` can't hold
REAPED = 1.0  # seconds at most; a process that the kernel holds on to is not waited for
_REFUSALS = (errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Command(Probe):
    """`status` is the exit code (-9: died of signal 9); `error`: not found, not executable, or stderr's first line."""

    default_ok: ClassVar[str] = "status == 0"

    run: Annotated[list[str], Field(min_length=1)]
    #: added to our own
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None

    async def look(self, eye: Eye) -> Seen:
        try:
            return await self._run(eye)
        except FileNotFoundError:
            return Seen(status=NOT_FOUND, error="not found")
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            return Seen(status=NOT_EXECUTABLE, error="not executable")

    async def _run(self, eye: Eye) -> Seen:
        deadline = asyncio.get_running_loop().time() + eye.timeout.total_seconds()
        transport, outputs = await asyncio.get_running_loop().subprocess_exec(
            _Outputs,
            *map(eye.fill, self.run),
            env=os.environ | {name: eye.fill(value) for name, value in self.env.items()},
            cwd=self.cwd and eye.fill(self.cwd),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout_at(deadline):  # not around the start: a half-started group can't be killed
                await outputs.ended.wait()
        except BaseException:
            await _kill(transport, outputs)
            raise
        finally:
            transport.close()
        return _seen(transport.get_returncode() or 0, *map(bytes, outputs.kept.values()))


class _Outputs(asyncio.SubprocessProtocol):
    """Keeps what a process writes; `ended` once it is dead and has closed its outputs."""

    def __init__(self) -> None:
        self.kept = {1: bytearray(), 2: bytearray()}
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.kept[fd] += data[: LIMIT - len(self.kept[fd])]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.ended.set()


async def _kill(transport: asyncio.SubprocessTransport, outputs: _Outputs) -> None:
    """The whole group; then wait, not for long, until asyncio has reaped the process."""
    with suppress(ProcessLookupError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    transport.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(REAPED):
            await outputs.ended.wait()


def _seen(status: int, out: bytes, err: bytes) -> Seen:
    text = out.decode("utf-8", "replace")
    complaint = err.decode("utf-8", "replace").strip().partition("\n")[0].strip()
    return Seen(status=status, text=text, json=parsed(text), error=(complaint or f"exit {status}") if status else "")


PROBE = Command
