"""Real processes: alive, stopped, zombie, gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.mechanisms import proc
from veloz_chaos.probes.process import NOBODY, PROBE, Process

SCRIPT = """import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


class Child:
    """A process that listens, with a word of its own in the command line."""

    def __init__(self) -> None:
        self.word = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, self.word], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self.process.pid
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        with self.process:
            self.process.kill()

    def die_unreaped(self) -> None:
        self.process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def child() -> Iterator[Child]:
    one = Child()
    yield one
    one.end()


def eye(fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=30), fill)


def look(fill: Callable[[str], str] = str, **keys: Any) -> Seen:
    async def opened() -> Seen:
        probe = Process(**keys)
        await probe.open(eye(fill))
        return await probe.look(eye(fill))

    return asyncio.run(opened())


@pytest.mark.parametrize(
    "keys", [{}, {"pidfile": "a", "port": 1}, {"port": 0}, {"port": 65536}, {"command": "("}, {"pid": 3}]
)
def test_says_what_is_wrong(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROBE(**keys)


def test_each_way_finds_the_same(child: Child, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{child.pid}\n")
    ways: list[dict[str, Any]] = [{"pidfile": str(pidfile)}, {"port": child.port}, {"command": child.word}]
    for way in ways:
        seen = look(**way)
        assert seen.error == ""
        assert seen.value | {"state": "?"} == {
            "alive": True, "pid": child.pid, "start": proc.start_time(child.pid), "count": 1, "state": "?",
        }  # fmt: skip


def test_a_stopped_process_is_alive(child: Child) -> None:
    child.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    seen = look(command=child.word)
    assert (seen.value["alive"], seen.value["state"]) == (True, "T")


def test_a_zombie_is_dead(child: Child, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(child.pid))
    child.die_unreaped()
    seen = look(pidfile=str(tmp_path / "pid"))
    assert (seen.value["alive"], seen.value["count"], seen.value["state"]) == (False, 0, "Z")
    for way in ({"port": child.port}, {"command": child.word}):
        assert look(**way).value["alive"] is False


def test_the_gone_are_dead(child: Child, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(child.pid))
    child.end()
    for way in ({"pidfile": str(tmp_path / "pid")}, {"port": child.port}, {"command": child.word}):
        assert look(**way) == Seen(value=NOBODY)


@pytest.mark.parametrize(("text", "error"), [("", "unreadable"), ("x", "unreadable"), ("-1", "unreadable")])
def test_a_pidfile_without_a_pid(text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(text)
    assert look(pidfile=str(tmp_path / "pid")) == Seen(value=NOBODY, error=error)


def test_no_pidfile(tmp_path: Path) -> None:
    assert look(pidfile=str(tmp_path / "none")) == Seen(value=NOBODY, error="missing")


def test_a_pid_that_was_given_to_another(child: Child, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(str(child.pid))
    before = proc.started_at(child.pid) - 60
    os.utime(pidfile, (before, before))
    assert look(lambda text: text.replace("${there}", str(tmp_path)), pidfile="${there}/pid") == Seen(value=NOBODY)


def test_several_are_counted_and_the_oldest_told(child: Child) -> None:
    second = Child()
    try:
        seen = look(command=f"{child.word}|{second.word}")
    finally:
        second.end()
    assert (seen.value["count"], seen.value["pid"]) == (2, child.pid)


def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert look(port=sock.getsockname()[1]) == Seen(value=NOBODY)
