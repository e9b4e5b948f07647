"""The program in the helper container, without a container: lines in, lines out, and everything undone at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.mechanisms import helper, helper_links, proc
from veloz_chaos.mechanisms.helper import Here


@contextmanager
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def running(pid: int, sign: str = "vc-unit") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "veloz_chaos.mechanisms.helper", sign, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def told(program: subprocess.Popen[str]) -> dict[str, Any]:
    assert program.stdout
    return dict(json.loads(program.stdout.readline()))


def ask(program: subprocess.Popen[str], call: str, **arguments: Any) -> dict[str, Any]:
    assert program.stdin
    program.stdin.write(json.dumps({"id": 7, "call": call, "arguments": arguments}) + "\n")
    program.stdin.flush()
    return told(program)


def test_it_says_which_process_it_found_and_answers() -> None:
    with victim() as child, running(child.pid) as program:
        first = told(program)
        assert first["id"] == 0
        assert first["value"] | {"held": []} == first["value"]
        assert (first["value"]["pid"], first["value"]["start"]) == (child.pid, proc.start_time(child.pid))
        assert ask(program, "ping") == {"id": 7, "value": first["value"]}
        assert ask(program, "alive") == {"id": 7, "value": True}
        assert ask(program, "alive", pid=child.pid, start=1)["value"] is False


def test_it_kills_and_says_that_the_target_ended() -> None:
    with victim() as child, running(child.pid) as program:
        told(program)
        answers = [ask(program, "signal", name="KILL"), told(program)]
        assert {"id": 7, "value": None} in answers
        assert {"id": -1, "value": {"ended": "target", "oom_kills": None}} in answers
        assert child.wait(5) == -9
        assert program.wait(5) == 0


#: Its memory is counted in a folder, and a call is under way until there is a file.
COUNTING = """
import sys, time
from pathlib import Path
from veloz_chaos.mechanisms import cgroup, helper
folder = Path(sys.argv[1])
def nap(here):
    while not (folder / 'over').exists():
        time.sleep(0.01)
helper.cgroup.memory_of = lambda _: cgroup.Memory(folder, folder, False)
helper.OPERATIONS['nap'], helper.LAST = nap, 60
helper.main(['helper', 'vc-unit', sys.argv[2]])
"""


def test_kills_are_counted_before_the_control_group_goes(tmp_path: Path) -> None:
    """That is soon after its last process, and calls may still be under way."""
    count = tmp_path / "memory.oom_control"
    count.write_text("oom_kill 1\n")
    command = [sys.executable, "-c", COUNTING, str(tmp_path)]
    with (
        victim() as child,
        subprocess.Popen(
            [*command, str(child.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program,
    ):
        told(program)
        assert program.stdin
        program.stdin.write('{"id": 7, "call": "nap"}\n{"id": 8, "call": "ping"}\n')
        program.stdin.flush()
        assert told(program)["id"] == 8
        child.kill()
        time.sleep(1)
        count.unlink()
        (tmp_path / "over").touch()
        assert told(program)["id"] == 7
        assert told(program) == {"id": -1, "value": {"ended": "target", "oom_kills": 1}}


def test_errors_come_back_by_name() -> None:
    with victim() as child, running(child.pid) as program:
        told(program)
        assert ask(program, "stop", pid=child.pid, start=1)["error"] == "Gone"
        assert ask(program, "fly") == {
            "id": 7, "error": "Unavailable", "text": "this helper cannot fly; its image is another version's",
        }  # fmt: skip
        assert "TypeError" in ask(program, "alive", wings=2)["text"]
        assert "mem_limit" in ask(program, "press", upto=0.9, expires=1)["text"]


def test_the_end_of_stdin_ends_it() -> None:
    with victim() as child, running(child.pid) as program:
        told(program)
        assert program.stdin
        program.stdin.close()
        assert program.wait(5) == 0


def test_term_ends_it() -> None:
    with victim() as child, running(child.pid) as program:
        told(program)
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0


def test_a_target_that_is_gone_is_told() -> None:
    with victim() as child:
        child.kill()
        child.wait()
        with running(child.pid) as program:
            assert told(program)["error"] == "Gone"
            assert program.wait(5) == 0


def here() -> Here:
    return Here("vc-unit", os.getpid(), proc.start_time(os.getpid()))


def test_everything_is_undone_newest_first_and_what_fails_stays_held() -> None:
    one, undone = here(), list[str]()

    def fails() -> None:
        undone.append("second")
        raise Gone("no")

    one.hold("first", "the first", lambda: undone.append("first"), 60)
    one.hold("second", "the second", fails, 60)
    with pytest.raises(Gone):
        one.undo()
    assert undone == ["second", "first"]
    assert helper.held(one) == ["the second"]


class Slow:
    """In place of a Wire: it takes until it is told to go on."""

    def __init__(self, *_: object, **__: object) -> None:
        self.begun, self.go_on, self.there = threading.Event(), threading.Event(), False

    def put(self, *_: object) -> None:
        self.begun.set()
        self.go_on.wait(10)
        self.there = True

    def undo(self) -> None:
        self.there = False


@pytest.mark.parametrize("how", [Here.undo, Here.close])
def test_what_is_about_to_be_done_is_undone_when_it_is_done(
    how: Callable[[Here], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, wire = here(), Slow()
    monkeypatch.setattr(helper_links, "Wire", lambda *_, **__: wire)
    put = threading.Thread(target=helper_links.disturb, args=(one, "delay", None, 1, 60.0))
    undo = threading.Thread(target=how, args=(one,))
    put.start()
    assert wire.begun.wait(10)
    undo.start()
    undo.join(0.2)
    wire.go_on.set()
    put.join()
    undo.join()
    assert not wire.there
    assert helper.held(one) == []


def test_nothing_is_done_when_it_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one, wire = here(), Slow()
    monkeypatch.setattr(helper_links, "Wire", lambda *_, **__: wire)
    one.close()
    with pytest.raises(Unavailable, match="about to end"):
        helper_links.disturb(one, "delay", None, 1, 60.0)
    assert not wire.begun.is_set()


def test_what_has_ended_by_itself_is_not_held() -> None:
    one = here()
    one.hold("a", "it", lambda: None, 60, there=lambda: False)
    assert helper.held(one) == []


def test_it_lives_as_long_as_the_longest_that_it_holds() -> None:
    one = here()
    assert 599 < one.seconds_left() <= 600
    one.hold("a", "it", lambda: None, 5)
    one.hold("b", "it", lambda: None, 50)
    assert 49 < one.seconds_left() <= 50
    one.undo("b")
    assert 4 < one.seconds_left() <= 5
    one.undo()
    assert 29 < one.seconds_left() <= 30


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"call": "ping"}', b'{"id": 1}'])
def test_nonsense_is_answered(line: bytes) -> None:
    assert helper.answer(here(), helper.operations(), line)["error"] == "Unavailable"


def test_an_operation_has_one_name_in_one_room() -> None:
    rooms = [sys.modules[room].OPERATIONS for room in helper.ROOMS if room in sys.modules]
    names = [name for room in rooms for name in room] + list(helper.OPERATIONS)
    assert len(names) == len(set(names))
