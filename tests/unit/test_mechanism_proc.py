"""Processes by incarnation, on real children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from veloz_chaos.errors import Gone, TargetError
from veloz_chaos.mechanisms import proc

#: Says that it is ready, then waits for a signal. Its name has what trips naive parsers of /proc/PID/stat.
WAIT = "import signal; open('/proc/self/comm','w').write('a) Z (b'); print(1, flush=True); signal.pause()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        yield child
        child.kill()


def test_start_time_and_state(child: subprocess.Popen[bytes]) -> None:
    assert proc.start_time(child.pid) >= proc.start_time(os.getpid())
    assert proc.state(child.pid) in "RS"
    assert proc.parent(child.pid) == os.getpid()
    assert abs(proc.started_at(child.pid) - time.time()) < 60


def test_another_start_time_is_another_process(child: subprocess.Popen[bytes]) -> None:
    start = proc.start_time(child.pid)
    assert proc.alive(child.pid, start)
    assert not proc.alive(child.pid, start - 1)
    with pytest.raises(Gone):
        proc.send(child.pid, start - 1, "KILL")
    assert child.poll() is None


def test_a_zombie_is_dead(child: subprocess.Popen[bytes]) -> None:
    start = proc.start_time(child.pid)
    proc.send(child.pid, start, "KILL")
    assert proc.await_exit(child.pid, start, 10)
    assert proc.state(child.pid) == "Z"
    assert not proc.alive(child.pid, start)
    with pytest.raises(Gone):
        proc.send(child.pid, start, "TERM")


def test_awaiting_an_exit_is_bounded_and_the_gone_have_exited(child: subprocess.Popen[bytes]) -> None:
    start = proc.start_time(child.pid)
    assert not proc.await_exit(child.pid, start, 0.05)
    child.kill()
    child.wait()
    assert proc.await_exit(child.pid, start, 0)
    with pytest.raises(Gone):
        proc.start_time(child.pid)


def test_stopped_is_the_kernels_word(child: subprocess.Popen[bytes]) -> None:
    start = proc.start_time(child.pid)
    assert not proc.stopped(child.pid)
    proc.send(child.pid, start, "STOP")
    assert proc.await_stopped(child.pid, 10)
    proc.send(child.pid, start, "CONT")
    assert os.waitid(os.P_PID, child.pid, os.WCONTINUED | os.WNOWAIT)
    assert not proc.stopped(child.pid)


def test_a_thread_that_ends_while_it_is_looked_at_is_not_the_end_of_its_process(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, ended = proc._entries, ["4194305"]
    monkeypatch.setattr(proc, "_entries", lambda folder: entries(folder) + ended)
    proc.send(child.pid, proc.start_time(child.pid), "STOP")
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert not proc.stopped(child.pid)
    ended.clear()
    assert proc.stopped(child.pid)


def test_who_dies_meanwhile_does_not_stop(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    with pytest.raises(Gone):
        proc.await_stopped(child.pid, 10)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_who_listens_on_a_port(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert os.getpid() in proc.listening(port)
    assert proc.listening(port) == []


def test_command_lines_match_but_never_our_own(child: subprocess.Popen[bytes]) -> None:
    assert child.pid in proc.matching(r"signal\.pause\(\)")
    ours = proc.matching(".")
    assert child.pid in ours
    assert not {os.getpid(), os.getppid()} & set(ours)


def test_boot_id_names_this_boot() -> None:
    assert proc.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(proc, "PROC", tmp_path)
    for call in (proc.boot_id, lambda: proc.start_time(1), lambda: proc.matching("x")):
        with pytest.raises(TargetError, match="only be reached on Linux"):
            call()
    monkeypatch.undo()
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(TargetError, match="pidfd"):
        proc.send(os.getpid(), proc.start_time(os.getpid()), signal.Signals.SIGCONT.name[3:])
