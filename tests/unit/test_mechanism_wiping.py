"""A wipe empties the folder that was named, and nothing else."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import wiping


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """With files, folders, and links to what is not its own."""
    made = tmp_path.resolve() / "place" / "data"
    (made / "a" / "b").mkdir(parents=True)
    (made / "a" / "b" / "file").write_text("x")
    (made / "odd\nname ").write_text("x")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "kept").write_text("x")
    (made / "to-folder").symlink_to(tmp_path / "beside")
    (made / "a" / "to-file").symlink_to(tmp_path / "beside" / "kept")
    (made / "up").symlink_to("../..")
    return made


def test_everything_in_it_is_gone_and_nothing_beside_it(volume: Path, tmp_path: Path) -> None:
    known = wiping.identity(str(volume))
    assert wiping.entries(str(volume), known) == 4
    wiping.wipe(str(volume), known)
    assert list(volume.iterdir()) == []
    assert wiping.entries(str(volume), known) == 0
    assert (tmp_path / "beside" / "kept").read_text() == "x"
    wiping.wipe(str(volume), known)  # safe twice


@pytest.mark.parametrize("path", ["data", "./data", "/", "//", "/tmp", "/proc/self", "/tmp/../tmp/x", "/tmp/./x", ""])
def test_what_is_no_folder_of_its_own_is_refused(path: str) -> None:
    with pytest.raises(TargetError):
        wiping.identity(path)


def test_a_link_is_refused_wherever_it_stands(volume: Path, tmp_path: Path) -> None:
    link = tmp_path.resolve() / "link"
    link.symlink_to(volume.parent)
    for path in (link, link / "data"):
        with pytest.raises(TargetError, match="link is a link or no folder"):
            wiping.identity(str(path))


def test_the_root_of_a_mount_and_what_holds_one_are_refused() -> None:
    for path in ("/dev/shm", "/sys/fs"):
        if os.path.ismount(path) or any(map(os.path.ismount, Path(path).iterdir())):
            with pytest.raises(TargetError, match="mount"):
                wiping.identity(path)


def test_another_folder_in_its_place_is_not_touched(volume: Path) -> None:
    known = wiping.identity(str(volume))
    volume.rename(volume.with_name("former"))
    with pytest.raises(Gone, match="there is no folder"):
        wiping.wipe(str(volume), known)
    volume.mkdir()
    (volume / "new").write_text("x")
    with pytest.raises(Gone, match="another folder"):
        wiping.wipe(str(volume), known)
    volume.joinpath("new").unlink()
    volume.rmdir()
    volume.symlink_to(volume.with_name("former"))
    with pytest.raises(TargetError):
        wiping.wipe(str(volume), known)
    assert len(list(volume.with_name("former").iterdir())) == 4
    with pytest.raises(Missing):
        wiping.identity(str(volume.with_name("never")))


def test_who_writes_to_it_while_he_dies_does_not_keep_it(volume: Path) -> None:
    known = wiping.identity(str(volume))

    def write() -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            (volume / "late").write_text("x")

    writer = threading.Thread(target=write)
    writer.start()
    wiping.wipe(str(volume), known)
    writer.join()
    assert list(volume.iterdir()) == []


def test_who_never_stops_writing_is_told_of(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiping, "PATIENCE", 0.3)
    known, over = wiping.identity(str(volume)), threading.Event()

    def write() -> None:
        while not over.is_set():
            (volume / "late").write_text("x")

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(Unavailable, match="does not stay empty"):
        wiping.wipe(str(volume), known)
    over.set()
    writer.join()
