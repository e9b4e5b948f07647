"""Real files: grown, rotated, truncated, missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.log import LIMIT, PROBE, Log


def eye(fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=10), fill)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_text("ERROR before\n")
    return path


def opened(path: Path, **keys: Any) -> Log:
    probe = Log(**{"path": str(path), "match": "ERROR"} | keys)
    asyncio.run(probe.open(eye()))
    return probe


def look(probe: Log) -> Seen:
    return asyncio.run(probe.look(eye()))


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    "keys", [{"match": "("}, {"count": 0}, {"before": "reverted"}, {"follow": True}, {"match": None}]
)
def test_says_what_is_wrong(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROBE(**{"path": "a", "match": "b"} | keys)


def test_only_what_is_new_counts(path: Path) -> None:
    probe = opened(path)
    assert look(probe) == Seen(status=0, value=0)
    add(path, "fine\nERROR one\r\nfine\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")


def test_previous_counts_what_was_there(path: Path) -> None:
    assert look(opened(path, previous=True)).text == "ERROR before"


def test_count_is_the_least(path: Path) -> None:
    probe = opened(path, count=2)
    add(path, "ERROR one\n")
    assert (look(probe).status, look(probe).value) == (0, 1)
    add(path, "ERROR two\nERROR three\n")
    assert look(probe) == Seen(status=1, value=3, text="ERROR three")


def test_a_line_counts_once_it_is_complete(path: Path) -> None:
    add(path, "ERR")
    probe = opened(path)
    assert look(probe).value == 0
    add(path, "OR begun before")
    assert look(probe).value == 0
    add(path, "\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR begun before")


def test_rotation_loses_nothing(path: Path) -> None:
    probe = opened(path)
    old = path.rename(path.with_suffix(".1"))
    add(old, "ERROR one\nERROR ")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one", error="missing")
    path.write_text("ERROR two\n")
    add(old, "three\n")
    assert look(probe).value == 3
    add(old, "ERROR four\n")  # its writer has not noticed
    add(path, "ERROR five\n")
    assert look(probe) == Seen(status=1, value=5, text="ERROR five")


def test_many_rotations_hold_few_descriptors(path: Path) -> None:
    probe = opened(path)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(50):
        path.rename(path.with_suffix(f".{number}"))
        path.write_text("ERROR\n")
        assert look(probe).value == number + 1
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208


def test_truncation_starts_again(path: Path) -> None:
    add(path, "fine\n" * 100)
    probe = opened(path)
    path.write_text("ERROR one\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")


def test_a_missing_file_is_no_crash_and_new_from_its_start(tmp_path: Path) -> None:
    probe = opened(tmp_path / "later.log")
    assert look(probe) == Seen(error="missing", value=0)
    (tmp_path / "later.log").write_text("ERROR first\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR first")


def test_a_flood_is_read_in_bounded_looks(path: Path) -> None:
    probe = opened(path)
    add(path, "x" * 99 + "\n")
    add(path, ("x" * 99 + "\n") * (2 * LIMIT // 100) + "ERROR last\n")
    assert [look(probe).value for _ in range(3)] == [0, 0, 1]


def test_an_endless_line_is_bounded(path: Path) -> None:
    probe = opened(path)
    add(path, "x" * (3 * LIMIT))
    for _ in range(4):
        assert look(probe).value == 0
    add(path, "ERROR\nERROR\n")
    assert look(probe).value == 2


def test_what_is_no_file_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="log: "):
            opened(path)
    path = tmp_path / "log"
    path.write_text("")
    probe = opened(path)
    path.unlink()
    path.mkdir()
    assert look(probe).error == "unreadable"


def test_opened_by_the_first_look_if_need_be(path: Path) -> None:
    probe = Log(path="${there}", match="ERROR", previous=True)  # type: ignore[arg-type]
    assert asyncio.run(probe.look(eye(lambda text: text.replace("${there}", str(path))))).value == 1


# What was there when the fault struck


def struck(path: Path, **keys: Any) -> Log:
    return opened(path, before="struck", **keys)


def test_before_the_strike_it_counts_as_ever(path: Path) -> None:
    probe = struck(path)
    assert look(probe) == Seen(status=0, value=0)
    add(path, "ERROR one\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")


def test_what_was_there_by_the_strike_counts_though_it_is_read_later(path: Path) -> None:
    probe = struck(path)
    add(path, "ERROR one\n")
    probe.struck()
    add(path, "ERROR two\n")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")
    assert look(probe) == Seen(status=1, value=1, text="ERROR one")


def test_what_comes_after_the_strike_does_not(path: Path) -> None:
    probe = struck(path)
    look(probe)
    probe.struck()
    add(path, "ERROR late\n")
    assert look(probe) == Seen(status=0, value=0)


def test_without_before_the_strike_changes_nothing(path: Path) -> None:
    probe = opened(path)
    probe.struck()
    add(path, "ERROR late\n")
    assert look(probe).value == 1


def test_a_line_that_the_strike_cut_does_not_count(path: Path) -> None:
    probe = struck(path)
    add(path, "ERROR half")
    probe.struck()
    add(path, " and whole\n")
    assert look(probe).value == 0


def test_rotated_before_the_strike_both_count_and_no_third(path: Path) -> None:
    probe = struck(path)
    add(path, "ERROR one\n")
    old = path.rename(path.with_suffix(".1"))
    path.write_text("ERROR two\n")
    probe.struck()
    add(old, "ERROR late\n")
    add(path, "ERROR late\n")
    path.rename(path.with_suffix(".2"))
    path.write_text("ERROR late\n")
    assert [look(probe).value for _ in range(2)] == [2, 2]


def test_a_file_that_was_missing_at_the_strike_had_nothing(path: Path) -> None:
    path.unlink()
    probe = struck(path)
    probe.struck()
    path.write_text("ERROR late\n")
    assert look(probe).value == 0


def test_truncated_after_the_strike_nothing_new_counts(path: Path) -> None:
    add(path, "fine\n" * 100)
    probe = struck(path)
    look(probe)
    probe.struck()
    path.write_text("ERROR late\n")
    assert look(probe).value == 0
