"""How a process is found, and which findings are refused."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from veloz_chaos.errors import Gone, Missing, TargetError
from veloz_chaos.targets.process import Process, Selector, find, reopen

#: Listens, and so does a child of its own that inherited the socket; `marker` is for the command line.
LISTEN = """
import os, signal, socket, sys
marker = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if child:
    print(listener.getsockname()[1], child, flush=True)
signal.pause()
"""


class Family:
    """A parent and its child, which listen on the same port."""

    def __init__(self, marker: str) -> None:
        self.marker = marker
        self.process = subprocess.Popen([sys.executable, "-c", LISTEN, marker], stdout=subprocess.PIPE)
        assert self.process.stdout
        self.port, self.child = map(int, self.process.stdout.readline().split())

    def end(self) -> None:
        os.kill(self.child, 9)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path.as_posix())
    yield family
    family.end()


def one(**selector: Any) -> Process:
    (found,) = find("it", Selector(**selector))
    return found


def pidfile(folder: Path, text: object) -> str:
    path = folder / "it.pid"
    path.write_text(f"{text}\n")
    return str(path)


def test_by_pidfile(family: Family, tmp_path: Path) -> None:
    found = one(pidfile=pidfile(tmp_path, family.process.pid))
    assert found.pid == family.process.pid
    assert found.alive()
    assert set(found.reference.identity) == {"pid", "start", "boot_id"}


def test_by_port_the_eldest_that_listens(family: Family) -> None:
    assert one(port=family.port).pid == family.process.pid


def test_by_command_everything_that_matches(family: Family) -> None:
    found = find("it", Selector(command=f"{family.marker}$"))
    assert {process.pid for process in found} == {family.process.pid, family.child}


def test_a_dead_process_makes_a_pidfile_stale(family: Family, tmp_path: Path) -> None:
    path = pidfile(tmp_path, family.process.pid)
    family.process.kill()
    os.waitid(os.P_PID, family.process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(Gone, match="zombie"):
        one(pidfile=path)
    family.process.wait()
    with pytest.raises(Gone, match="is dead"):
        one(pidfile=path)


def test_a_recycled_pid_is_refused(family: Family, tmp_path: Path) -> None:
    path = pidfile(tmp_path, family.process.pid)
    os.utime(path, (0, 0))
    with pytest.raises(Gone, match="another's"):
        one(pidfile=path)


@pytest.mark.parametrize("text", ["", "engine", "0x12"])
def test_a_pidfile_without_a_pid(text: str, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="holds no pid"):
        one(pidfile=pidfile(tmp_path, text))


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_a_pidfile_never_leads_to_everybody_or_init(pid: int, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="never a target"):
        one(pidfile=pidfile(tmp_path, pid))


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for selector in ({"pidfile": str(tmp_path / "no.pid")}, {"port": port}, {"command": f"{tmp_path}/nothing"}):
        with pytest.raises(Missing, match="start"):
            one(**selector)


@pytest.mark.parametrize("written", [{}, {"port": 1, "pidfile": "x"}, {"port": 0}, {"command": "("}, {"pid": 1}])
def test_a_selector_is_exactly_one_way(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Selector).validate_python(written)


def test_a_reference_of_another_boot_is_gone(family: Family) -> None:
    found = one(port=family.port)
    identity = {**found.reference.identity, "boot_id": "of-yesterday"}
    with pytest.raises(Gone, match="booted"):
        reopen(found.reference.model_copy(update={"identity": identity}))


@pytest.mark.parametrize("boot", ["this", "of-yesterday"])
def test_what_fills_a_volume_outlives_the_process_and_is_taken_away(family: Family, tmp_path: Path, boot: str) -> None:
    """A machine, or a whole job, died with everything that would have removed it."""
    volume = {"logs": {"path": str(tmp_path), "size": "1KB"}}
    found = one(port=family.port, volumes=volume).reference
    file = tmp_path / ".vc-left-1"
    file.write_bytes(bytes(900))
    if boot != "this":
        found = found.model_copy(update={"identity": {**found.identity, "boot_id": boot}})
    family.process.kill()
    family.process.wait()
    target = reopen(found)
    assert not target.alive()
    target.empty("vc-other-1", "logs")
    assert file.exists()
    target.empty("vc-left-1", "logs")
    assert not file.exists()
    with pytest.raises(Gone):
        reopen(found)


def test_a_stopped_process_is_a_leftover_that_can_be_resumed(family: Family) -> None:
    found = one(port=family.port)
    found.pause()
    assert found.leftovers() == [f"process {found.pid} is stopped; resume it by `kill -CONT {found.pid}`"]
    found.resume()
    assert found.leftovers() == []


def test_what_died_has_no_pause(family: Family) -> None:
    found = one(port=family.port)
    found.kill("KILL")
    found.resume()
    assert found.leftovers() == []
    with pytest.raises(Gone):
        found.paused()


def test_a_process_that_dies_as_its_limit_is_raised_again_is_gone(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, prlimit = one(port=family.port), resource.prlimit

    def dies(pid: int, which: int, *new: tuple[int, int]) -> tuple[int, int]:
        if new:
            family.process.kill()
            family.process.wait()
        return prlimit(pid, which, *new)

    monkeypatch.setattr(resource, "prlimit", dies)
    with pytest.raises(Gone):
        target.release("vc-unit-1", {"soft": resource.RLIM_INFINITY})
