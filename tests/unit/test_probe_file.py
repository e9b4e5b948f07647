"""Real files and file systems."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.probes.file import PROBE, File


def look(path: Path | str, fill: Callable[[str], str] = str, seconds: float = 10) -> Seen:
    return asyncio.run(File(path=str(path)).look(Eye(timedelta(seconds=seconds), fill)))


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError):
        PROBE(path="a", size=3)  # type: ignore[call-arg]


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("12345")
    before = time.time() - 60
    os.utime(tmp_path / "a.log", (before, before))
    seen = look("${there}/a.log", lambda text: text.replace("${there}", str(tmp_path)))
    assert (seen.status, seen.value, seen.error) == (1, 5, "")
    assert (seen.json["exists"], seen.json["size"]) == (True, 5)
    assert 60_000 <= seen.json["age_ms"] <= 60_000 + (time.time() - before - 60) * 1000 + 1


def test_the_room_is_what_df_says(tmp_path: Path) -> None:
    seen = look(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    assert seen.json["total_bytes"] == usage.total
    assert seen.json["free_bytes"] == pytest.approx(usage.free, abs=1 << 28)  # others write meanwhile
    assert seen.json["used_share"] == pytest.approx(usage.used / (usage.used + usage.free), abs=0.05)


@pytest.mark.parametrize("name", ["none", "no/such/folder"])
def test_missing_tells_the_room_of_its_folder(tmp_path: Path, name: str) -> None:
    seen = look(tmp_path / name)
    assert (seen.status, seen.error, seen.value) == (0, "missing", None)
    assert (seen.json["exists"], seen.json["size"], seen.json["age_ms"]) == (False, None, None)
    assert seen.json["total_bytes"] == shutil.disk_usage(tmp_path).total


def test_below_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert look(tmp_path / "file" / "below").error == "missing"


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    seen = look(tmp_path / "loop")
    assert (seen.status, seen.error, seen.json["exists"]) == (0, "unreadable", None)
    assert seen.json["free_bytes"] > 0


def test_written_in_the_future_is_not_older_than_new(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    os.utime(tmp_path / "a", (time.time() + 1000,) * 2)
    assert look(tmp_path / "a").json["age_ms"] == 0


def test_a_disk_that_hangs_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hanging(_: object) -> None:
        over.wait()
        raise OSError

    monkeypatch.setattr(os, "statvfs", hanging)
    with pytest.raises(TimeoutError):
        look(tmp_path, seconds=0.05)
    over.set()
