"""The order history is found beside its journal, and what is wrong with the file becomes a reason, never a crash."""

from __future__ import annotations

from pathlib import Path

from veloz_chaos.core.history import History
from veloz_chaos.engine.order_history import beside

LINE = b'{"op":"read","side":"gateway","at":1,"ok":true}\n'


def test_a_run_without_a_workload_has_none(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_bytes(LINE)
    assert beside(tmp_path, History()) is None


def test_it_is_read_from_the_folder_of_the_journal_and_from_nowhere_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "orders.jsonl").write_bytes(LINE)
    assert beside(run, History(orders_file="../orders.jsonl")) is None
    (run / "orders.jsonl").write_bytes(LINE)
    found = beside(run, History(orders_file="orders.jsonl"))
    assert found is not None and list(found.sides) == ["gateway"]
    (run / "journal.jsonl").write_bytes(b"")
    again = beside(run / "journal.jsonl", History(orders_file="orders.jsonl"))
    assert again is not None and again.sha256 == found.sha256


def test_a_file_that_is_no_history_says_so(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_bytes(LINE + b'{"op":"dance"}\n' + LINE)
    found = beside(tmp_path, History(orders_file="orders.jsonl"))
    assert found is not None and found.unreadable == "line 2: there is no operation 'dance'"


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").mkdir()
    found = beside(tmp_path, History(orders_file="orders.jsonl"))
    assert found is not None and found.unreadable == "Is a directory"
