"""Evidence of a run with an order history: it is in the bundle, and no byte of it changes unseen, whoever packs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.engine.gateway import gateway
from tests.engine.system import running
from tests.engine.test_workload_run import EXPECT, environment
from tests.unit.test_evidence import Files, repacked, verify
from veloz_chaos.cli.app import start
from veloz_chaos.core import event as ev
from veloz_chaos.core import evidence
from veloz_chaos.engine import bundle, evidencing, journal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """However it went: it has a history."""
    folder = tmp_path_factory.mktemp("orders")
    with running(folder) as system, gateway() as server:
        place = environment(system, server)
        result, _ = system.run(system.experiment(workload="orders", expect=EXPECT), place)
    return result.folder


@pytest.fixture
def made(run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "orders.tar.gz"
    assert start(["evidence", "make", str(run), "-o", str(path)]) == 0
    return path


def history_of(run: Path) -> str:
    (path,) = [f"{run.name}/orders/{e.file}" for e in journal.read(run) if isinstance(e, ev.WorkloadEnded)]
    return path


def flipped(path: str, place: int) -> Callable[[Files], None]:
    def flip(files: Files) -> None:
        data = bytearray(files[path])
        data[place % len(data)] ^= 1
        files[path] = bytes(data)

    return flip


def test_its_hash_is_in_the_chain_and_is_the_journals(
    run: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = bundle.unpack(made.read_bytes()).files
    path = history_of(run)
    digest = sha256(files[path]).hexdigest()
    (line,) = [line for line in files[evidence.MANIFEST].decode().splitlines() if line.endswith(path)]
    assert digest in line.split()
    (ended,) = [event for event in journal.read(run) if isinstance(event, ev.WorkloadEnded)]
    assert ended.sha256 == digest
    assert verify(made, capsys)[0] == 0


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_a_flipped_byte_in_it_is_found_and_named(
    run: Path, made: Path, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    path = history_of(run)
    code, said = verify(repacked(made, flipped(path, place)), capsys)
    assert code == 1
    assert f"{path}: was changed" in said


def test_a_flipped_byte_is_found_by_the_journal_though_all_else_was_made_anew(
    run: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = history_of(run)

    def forge(files: Files) -> None:
        flipped(path, 1000)(files)
        own = {name.removeprefix(f"{run.name}/"): data for name, data in files.items() if name.startswith(run.name)}
        recorded = {name: own[name] for name in own if name == journal.FILE or name.startswith("orders/")}
        again = evidencing.derived(recorded, run.name, run.name)
        files.update({f"{run.name}/{name}": data for name, data in again.items()})

    code, said = verify(repacked(made, forge, listed=True), capsys)
    assert code == 1
    assert f"{path}: is not the order history that the journal names by its SHA-256" in said


def test_one_that_was_left_out_is_missed(run: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = history_of(run)
    code, said = verify(repacked(made, lambda files: files.pop(path), listed=True), capsys)
    assert code == 1
    assert f"{path}: is not there, and the journal names it" in said


def test_no_bundle_is_made_without_it_or_of_another(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    orders = copy / Path(history_of(run)).name
    orders.write_bytes(orders.read_bytes()[:-1])
    for wanted in ("is not the order history that the journal names", "is not there, and the journal names it"):
        capsys.readouterr()
        assert start(["evidence", "make", str(copy), "-o", str(tmp_path / "x.tar.gz")]) == 2
        assert wanted in capsys.readouterr().err
        orders.unlink(missing_ok=True)
    assert not (tmp_path / "x.tar.gz").exists()
