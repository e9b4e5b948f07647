"""A journal's phases as spans: in their order, within the run, and none that never was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli_runs import BEGAN, MS, SECOND, Paper, events
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.spans import Span, spans
from veloz_chaos.engine import journal

KEPT = sorted((Path(__file__).parents[1] / "journals").glob("*.jsonl"))


def made(journal_: list[ev.Event]) -> dict[str, Span]:
    history = of(journal_)
    return {span.name: span for span in spans(history, judge(history), journal_[0].at)}


def test_a_kill_strikes_once() -> None:
    found = made(events(Paper()))
    assert list(found) == ["run", "baseline", "inject", "recovery"]
    assert (found["run"].start, found["run"].end) == (0, BEGAN + 6 * SECOND)
    assert (found["baseline"].start, found["baseline"].end) == (1, BEGAN - 3 * MS)
    assert (found["inject"].start, found["inject"].end) == (BEGAN, BEGAN + MS)
    assert found["inject"].attributes == {"veloz_chaos.faults": ["kill on engine"]}
    assert BEGAN + 1.1 * SECOND < found["recovery"].end < BEGAN + 1.4 * SECOND
    about = found["run"].attributes
    assert (about["veloz_chaos.experiment"], about["veloz_chaos.verdict"]) == ("engine-crash", "passed")
    assert 0 <= float(str(about["veloz_chaos.time_to_detect.at_least"])) <= 0.2
    assert [name for name, _ in found["run"].events] == ["impact", "detected", "recovered"]
    assert not any(span.failed for span in found.values())


def test_what_never_recovered_has_failed() -> None:
    found = made(events(Paper(recovered=100.0, watched=20.0)))
    assert found["recovery"].failed == "it did not recover"
    assert found["recovery"].end == found["run"].end
    assert "veloz_chaos.time_to_recover.at_most" not in found["run"].attributes
    assert found["run"].failed.startswith("failed; recovery: ")


def test_a_refused_run_has_a_baseline_alone() -> None:
    refused = ev.RunRefused(reasons=["steady does not hold"], at=5, wall=1.0)
    over = ev.RunEnded(cause="refused", by="runner", at=6, wall=1.0)
    found = made([*events(Paper())[:2], refused, over])
    assert list(found) == ["run", "baseline"]
    assert found["baseline"].failed == "steady does not hold"
    assert found["run"].failed == "refused; steady does not hold"


def test_a_placebo_injects_nothing() -> None:
    assert list(made(events(Paper(placebo=True)))) == ["run", "baseline"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_every_kept_journal(path: Path) -> None:
    found = made(journal.read(path))
    run = found["run"]
    assert all(run.start <= span.start <= span.end <= run.end for span in found.values())
    if "hold" in found:
        assert found["inject"].end == found["hold"].start <= found["hold"].end == found["revert"].start
    assert set(found) <= {"run", "baseline", "inject", "hold", "revert", "recovery"}
    assert {"run", "baseline", "inject"} <= set(found)


def test_every_torn_journal() -> None:
    """Cut anywhere, as a runner that died leaves it."""
    whole = journal.read(next(path for path in KEPT if path.stem == "network-partition"))
    for end in range(1, len(whole), 7):
        found = made(whole[:end])
        assert all(span.start <= span.end for span in found.values())
