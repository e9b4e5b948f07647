"""A run is told by what changes; the live view shows where it stands."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.cli_runs import BEGAN, SECOND, Paper, events
from veloz_chaos.core.event import FaultCleared, ProcedureEnded, RunEnded
from veloz_chaos.reports.narrative import Narrator
from veloz_chaos.reports.scene import Scene


def told(*, every: bool = False) -> list[str]:
    narrator = Narrator(every=every)
    return [line for event in events(Paper()) if (line := narrator.tell(event))]


def test_only_changes_are_told() -> None:
    said = [line.partition(" s  ")[2] for line in told()]
    looks = [line for line in said if line.startswith(("steady ", "signal "))]
    assert looks == ["steady not shown: 503", "signal shown", "steady shown", "signal not shown: 503"]


def test_every_look_is_told_when_wanted() -> None:
    assert len(told(every=True)) > 100


def test_the_beginning_and_the_end_are_told() -> None:
    assert "The engine process dies on paper" in told()[0]
    assert told()[-1].endswith("completed")
    assert any("kill on engine: in place: it is dead" in line for line in told())


def test_what_remains_of_a_fault_that_is_gone_is_told() -> None:
    narrator, plain = Narrator(), {"at": BEGAN, "wall": 0.0}
    for note, line in (("", "f1: gone"), ("one ended entry remains", "f1: gone; one ended entry remains")):
        event = FaultCleared.model_validate({"fault": "f1", "by": "runner", "note": note, **plain})
        assert str(narrator.tell(event)).endswith(line)


def test_what_stays_down_is_told_of_services_and_of_links() -> None:
    event = RunEnded(cause="completed", by="runner", down=["a->b", "web"], at=BEGAN, wall=0.0)
    assert str(Narrator().tell(event)).endswith("completed; still down: web; not recovered from: a->b")


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        ("started", 7, "half failed (exit 7): started"),
        ("started", -9, "half failed (signal 9): started"),
        ("ended with 7", 7, "half failed: ended with 7"),
        ("started killed after 1 s", None, "half failed: started killed after 1 s"),
    ],
)
def test_a_procedure_that_failed_is_told_with_its_status(output: str, status: int | None, said: str) -> None:
    about: dict[str, Any] = {"procedure": "half", "step": "do", "by": "runner", "succeeded": False}
    event = ProcedureEnded(**about, status=status, output=output, at=BEGAN, wall=0.0)
    assert Narrator().say(event) == said


def test_the_scene_counts_against_the_limits() -> None:
    scene = Scene()
    for event in events(Paper(recovered=60.0)):
        if event.at < BEGAN + SECOND:
            scene.add(event)
    text = "\n".join(line for _, line in scene.lines(BEGAN + 2 * SECOND))
    assert "in place, watching" in text
    assert "recovery 2 s / 10 s" in text
    assert "/ 5 s" in text
    assert "steady  not shown" in text


def test_the_scene_fits_the_terminal() -> None:
    scene = Scene()
    for event in events(Paper()):
        scene.add(event)
    assert all(len(line) <= 40 for _, line in scene.lines(10 * SECOND, 40))


def test_observing_is_cheap() -> None:
    """It is part of the measuring loop's time: far below 50 µs an event."""
    from queue import SimpleQueue

    queue: SimpleQueue[object] = SimpleQueue()
    many = events(Paper())
    began = time.perf_counter()
    for event in many:
        queue.put(event)
    assert (time.perf_counter() - began) / len(many) < 50e-6
