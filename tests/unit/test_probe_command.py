"""Real commands: their ends, their outputs, and what is left of those that take too long."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.probes.command import LIMIT, PROBE, Command


def eye(seconds: float = 30, fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


def look(*run: str, seconds: float = 30, **keys: Any) -> Seen:
    return asyncio.run(Command(run=list(run), **keys).look(eye(seconds, lambda text: text.replace("${word}", "hello"))))


def gone(pid: int) -> bool:
    """Dead, and no zombie of ours."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_says_what_is_wrong() -> None:
    wrong: list[dict[str, Any]] = [{"run": []}, {"run": "echo hello"}, {"run": ["a"], "shell": True}, {}]
    for keys in wrong:
        with pytest.raises(ValidationError):
            PROBE(**keys)


def test_a_good_end() -> None:
    assert look("echo", '{"a": [1]}') == Seen(text='{"a": [1]}\n', json={"a": [1]})
    assert look("sh", "-c", "echo warning >&2").error == ""


def test_no_shell_and_nothing_to_read() -> None:
    assert look("echo", "$HOME; ${word}").text == "$HOME; hello\n"
    assert look("cat").text == ""


def test_environment_and_directory(tmp_path: Path) -> None:
    seen = look("sh", "-c", "echo $WORD; pwd", env={"WORD": "${word}"}, cwd=str(tmp_path))
    assert seen.text.splitlines() == ["hello", str(tmp_path)]


def test_bad_ends() -> None:
    assert look("sh", "-c", "echo out; echo '  no disk' >&2; echo more >&2; exit 3") == Seen(
        status=3, text="out\n", error="no disk"
    )
    assert look("sh", "-c", "exit 4") == Seen(status=4, error="exit 4")
    assert look("sh", "-c", "kill -9 $$").status == -9


def test_what_does_not_run_is_never_status_0(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    assert look("no-such-command") == Seen(status=127, error="not found")
    assert look("true", cwd=str(tmp_path / "none")) == Seen(status=127, error="not found")
    assert look(str(script)) == Seen(status=126, error="not executable")


def test_outputs_are_bounded() -> None:
    code = "import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('y' * 3_000_000); sys.exit(1)"
    seen = look(sys.executable, "-c", code)
    assert (len(seen.text), len(seen.error), seen.status) == (LIMIT, LIMIT, 1)


def test_too_late_kills_all_of_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; trap '' TERM; wait; sleep 1000"

    async def late() -> None:
        probe = Command(run=["sh", "-c", script])
        seconds = 0.2
        while not pids.exists():  # on a slow machine the shell may not have got so far
            with pytest.raises(TimeoutError):
                await probe.look(eye(seconds))
            seconds *= 2

    asyncio.run(late())
    for pid in map(int, pids.read_text().split()):
        while not gone(pid):
            os.sched_yield()


def test_a_background_process_that_keeps_the_output_is_killed_in_time() -> None:
    with pytest.raises(TimeoutError):
        look("sh", "-c", "sleep 1000 & exit 0", seconds=0.3)


def test_nothing_is_left_of_looks_that_came_too_late() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def late() -> None:
        probe = Command(run=["sleep", "1000"])
        await Command(run=["true"]).look(eye())
        before, others = descriptors(), children()  # a server of other tests may be ours, too
        for _ in range(10):
            looks = await asyncio.gather(*(probe.look(eye(0.05)) for _ in range(10)), return_exceptions=True)
            assert all(isinstance(each, TimeoutError) for each in looks)
        assert children() == others
        assert descriptors() <= before
        assert len(asyncio.all_tasks()) == 1

    def children() -> str:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().strip()

    asyncio.run(late())
