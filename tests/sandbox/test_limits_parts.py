"""The parts of the gateway's limits by themselves: control groups as folders, the log file, the watches."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

import pytest

from veloz_chaos.sandbox import cgroup, gateway_log, memory_watch, volume
from veloz_chaos.sandbox.cgroup import Demand, Usage
from veloz_chaos.sandbox.gateway_log import DiskWatch, LogFile
from veloz_chaos.sandbox.memory_watch import MemoryWatch
from veloz_chaos.sandbox.volume import Volume

MB = 1 << 20


def first_version(mount: Path) -> cgroup.Group:
    for controller in ("memory", "cpu"):
        (mount / controller).mkdir()
    (mount / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (mount / "cpu" / "cgroup.procs").write_text("")
    found = cgroup.find("box", mount)
    assert isinstance(found, cgroup.SeparateTrees)
    return found


def second_version(mount: Path) -> cgroup.Group:
    (mount / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (mount / "cgroup.subtree_control").write_text("memory pids\n")
    found = cgroup.find("box", mount)
    assert isinstance(found, cgroup.OneTree)
    return found


def test_no_control_groups(tmp_path: Path) -> None:
    assert cgroup.find("box", tmp_path) is None
    (tmp_path / "cgroup.controllers").write_text("cpuset memory\n")
    assert cgroup.find("box", tmp_path) is None


def test_first_version(tmp_path: Path) -> None:
    group = first_version(tmp_path)
    memory, cpu = tmp_path / "memory" / "box" / "gateway", tmp_path / "cpu" / "box" / "gateway"
    assert group.folders == (memory, cpu) and group.usage() is None and group.oom_kills() == 0
    group.create(160 * MB, 0.6)
    assert (memory / "memory.limit_in_bytes").read_text() == str(160 * MB)
    assert (cpu / "cpu.cfs_quota_us").read_text() == "60000" and not (memory / "memory.memsw.limit_in_bytes").exists()
    (memory / "memory.usage_in_bytes").write_text(f"{50 * MB}\n")
    (memory / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {10 * MB}\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert group.usage() == Usage(40 * MB, 160 * MB) and group.oom_kills() == 2
    (memory / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert group.usage() is None
    assert group.demand() is None
    (cpu / "cpuacct.usage").write_text("2500000000\n")
    (cpu / "cpu.stat").write_text("nr_periods 9\nnr_throttled 5\nthrottled_time 500000000\n")
    assert group.demand() == Demand(3.0, 0.6)
    (cpu / "cpu.cfs_quota_us").write_text("-1\n")
    assert group.demand() is None


def test_second_version(tmp_path: Path) -> None:
    group = second_version(tmp_path)
    folder = tmp_path / "box" / "gateway"
    assert group.folders == (folder,) and group.usage() is None and group.oom_kills() == 0
    group.create(160 * MB, 0.6)
    assert (folder / "memory.max").read_text() == str(160 * MB)
    assert (folder / "cpu.max").read_text() == "60000 100000" and not (folder / "memory.swap.max").exists()
    enabled = [parent / "cgroup.subtree_control" for parent in (tmp_path, tmp_path / "box")]
    assert [file.read_text() for file in enabled] == ["+cpu +memory"] * 2
    (folder / "memory.current").write_text(f"{50 * MB}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {10 * MB}\n")
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert group.usage() == Usage(40 * MB, 160 * MB) and group.oom_kills() == 2
    (folder / "memory.max").write_text("max\n")
    assert group.usage() is None
    (folder / "cpu.stat").write_text("usage_usec 2500000\nnr_throttled 5\nthrottled_usec 500000\n")
    assert group.demand() == Demand(3.0, 0.6)
    (folder / "cpu.max").write_text("max 100000\n")
    assert group.demand() is None


def test_inside_a_container_its_limits_are_those_of_the_topmost_folders(tmp_path: Path) -> None:
    first_version(tmp_path)
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpuacct").mkdir()
    (tmp_path / "cpuacct" / "cpuacct.usage").write_text("1500000000\n")  # a tree of its own
    group = cgroup.around(tmp_path)
    assert group and group.demand() == Demand(1.5, 2.0)


def test_what_is_enabled_already_is_left_alone(tmp_path: Path) -> None:
    group = second_version(tmp_path)
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    group.create(MB, 1)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "cpu memory pids\n"


def test_an_empty_group_is_removed_and_safe_twice(tmp_path: Path) -> None:
    group = first_version(tmp_path)
    for folder in group.folders:
        folder.mkdir(parents=True)
    group.remove()
    assert not any(top.exists() for top in group.tops)
    group.remove()


def emulated_volume(directory: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> Volume:
    (directory / volume.NAME).mkdir()
    monkeypatch.setattr(volume, "SIZE", size)
    return Volume(directory)


def log_to(file: LogFile, text: str) -> None:
    file.handle(logging.makeLogRecord({"msg": text, "levelname": "INFO", "levelno": logging.INFO}))


def names(room: Volume) -> list[str]:
    return sorted(entry.name for entry in room.path.iterdir())


def test_rotates_and_keeps_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = emulated_volume(tmp_path, 8 * MB, monkeypatch)
    monkeypatch.setattr(gateway_log, "ROTATE_AT", 100)
    gone: list[str] = []
    file = LogFile(room, gone.append)
    for number in range(8):
        log_to(file, f"{number} {'x' * 50}")
    assert names(room) == [volume.LOG, *(f"{volume.LOG}.{number}" for number in (1, 2, 3))]
    assert [(room.path / name).read_text().split()[3] for name in names(room)] == ["7", "6", "5", "4"] and not gone


def test_makes_room_by_removing_the_oldest_and_at_last_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = emulated_volume(tmp_path, 1000, monkeypatch)
    gone: list[str] = []
    for number, size in ((1, 100), (3, 100)):
        (room.path / f"{volume.LOG}.{number}").write_bytes(bytes(size))
    file = LogFile(room, gone.append)
    log_to(file, "first")
    filler = room.path / "filler"
    for text, removed in (("second", "3"), ("third", "1")):
        filler.write_bytes(bytes(filler.stat().st_size + room.free() if filler.exists() else room.free()))
        log_to(file, text)
        assert gone[-1] == f"{volume.LOG}.{removed}" and file.path.read_text().endswith(f"{text}\n")
    filler.write_bytes(bytes(filler.stat().st_size + room.free()))
    log_to(file, f"fourth and longer than {'x' * 300}")
    assert len(gone) == 2 and file.path.read_text().count("\n") == 1 and "fourth" in file.path.read_text()
    log_to(file, "fifth")
    assert "fifth" in file.path.read_text() and "fourth" not in file.path.read_text()


def test_the_flaw_drops_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = emulated_volume(tmp_path, 1000, monkeypatch)
    gone: list[str] = []
    file = LogFile(room, gone.append, rotates=False)
    (room.path / f"{volume.LOG}.1").write_bytes(bytes(900))
    for text in ("first", "second", "third"):
        log_to(file, f"{text} {'x' * 40}")
    assert "first" in file.path.read_text() and "second" not in file.path.read_text() and not gone
    (room.path / f"{volume.LOG}.1").unlink()
    log_to(file, "fourth")
    assert "fourth" in file.path.read_text()


def test_no_volume_no_log_and_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = emulated_volume(tmp_path, 1000, monkeypatch)
    room.path.rmdir()
    log_to(LogFile(room, lambda _: None), "nowhere")
    assert not room.path.exists()


def test_disk_is_full_at_once_and_ok_when_it_had_room_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = emulated_volume(tmp_path, 8 * MB, monkeypatch)
    told: list[str] = []
    monkeypatch.setattr(gateway_log, "ROOM_FOR", 1e9)
    watch = DiskWatch(room, lambda status, _: told.append(status))
    watch.look()
    assert watch.part() == {"status": "ok", "free_bytes": 8 * MB}
    os.truncate(_new(room.path / "filler"), 8 * MB - gateway_log.FULL_BELOW + 1)
    watch.look()
    (room.path / "filler").unlink()
    watch.look()
    assert watch.part() == {"status": "full", "free_bytes": 8 * MB} and told == ["full"]
    monkeypatch.setattr(gateway_log, "ROOM_FOR", 0.0)
    watch.look()
    assert watch.status == "ok" and told == ["full", "ok"]


def _new(file: Path) -> Path:
    file.touch()
    return file


@pytest.mark.parametrize(
    ("share", "before", "after"),
    [(0.8, "ok", "ok"), (0.81, "ok", "pressure"), (0.76, "pressure", "pressure"), (0.74, "pressure", "ok")],
)
def test_pressure_begins_above_80_and_ends_below_75_percent(share: float, before: str, after: str) -> None:
    assert memory_watch.judged(share, before) == after


def test_memory_warnings_come_at_each_change_and_then_less_often(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "WARN_EVERY", 1e9)
    uses = [0.5, 0.9, 0.95, 0.5, 0.85]
    told: list[str] = []
    watch = MemoryWatch(lambda: Usage(int(uses[0] * 100 * MB), 100 * MB), told.append)
    for _ in range(5):
        watch.look()
        uses.append(uses.pop(0))
    assert [record.message for record in caplog.records] == [f"memory usage {n}% of 100 MB" for n in (90, 85)]
    assert told == ["pressure", "ok", "pressure"] and watch.part() == {"status": "pressure", "used_share": 0.85}


@pytest.mark.parametrize(("share", "collections"), [(1e-9, 1), (1.0, 3)])
def test_garbage_is_collected_under_pressure_for_a_share_of_the_time(
    share: float, collections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "COLLECTING", share)
    uses, full = [0.5], []
    watch = MemoryWatch(lambda: Usage(int(uses[0] * 100 * MB), 100 * MB), lambda _: None)
    count = lambda phase, told: full.append(told) if phase == "start" and told["generation"] == 2 else None  # noqa: E731
    gc.disable()
    gc.callbacks.append(count)
    try:
        for use in (0.5, 0.9, 0.9, 0.9):
            uses[0] = use
            watch.look()
    finally:
        gc.callbacks.remove(count)
        gc.enable()
    assert len(full) == collections
