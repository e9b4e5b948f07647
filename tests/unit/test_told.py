"""What a journal keeps of its own judgement, and that nothing is judged by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli_runs import MS, SECOND, Paper, events, write
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.told import told
from veloz_chaos.engine import journal


def judged(paper: Paper) -> ev.RunJudged:
    return ev.RunJudged(**told(judge(of(events(paper)))), at=100 * SECOND, wall=1.0)


def test_the_times_are_kept_with_their_limits() -> None:
    kept = judged(Paper())
    assert kept.verdict == "passed"
    assert kept.detection is not None
    assert (kept.detection.verdict, kept.detection.limit) == ("passed", 5 * SECOND)
    assert kept.detection.at_most is not None
    assert kept.detection.at_least is not None
    assert kept.detection.at_least <= 100 * MS <= kept.detection.at_most


def test_what_never_came_has_no_most() -> None:
    kept = judged(Paper(recovered=60.0, watched=30.0))
    assert kept.recovery is not None
    assert (kept.recovery.verdict, kept.recovery.at_most) == ("failed", None)
    assert kept.reason.startswith("recovery took at least")


def test_it_is_read_back_as_it_was_written() -> None:
    kept = judged(Paper())
    assert ev.read(ev.write(kept)) == kept


@pytest.mark.parametrize("paper", [Paper(), Paper(recovered=60.0, watched=30.0), Paper(ended=False)])
def test_nothing_is_judged_by_it(paper: Paper) -> None:
    plain = events(paper)
    assert judge(of([*plain, judged(Paper(recovered=60.0, watched=30.0))])) == judge(of(plain))


def test_a_run_that_was_judged_is_still_finished(tmp_path: Path) -> None:
    folder = write(tmp_path, Paper())
    assert journal.finished(folder)
    assert journal.ended_clean(folder)
    with (folder / journal.FILE).open("a") as file:
        file.write(ev.write(judged(Paper())) + "\n")
    assert journal.finished(folder)
    assert journal.ended_clean(folder)
    with (folder / journal.FILE).open("a") as file:
        file.write('{"at":1,"wa')
    assert not journal.finished(folder)


def test_a_run_without_an_end_is_none_though_something_was_judged(tmp_path: Path) -> None:
    folder = write(tmp_path, Paper(ended=False))
    with (folder / journal.FILE).open("a") as file:
        file.write(ev.write(judged(Paper())) + "\n")
    assert not journal.finished(folder)
