"""A trace: looks in the order of asking, however they were answered."""

from __future__ import annotations

from veloz_chaos.core.trace import NOT_SHOWN, SHOWN, UNANSWERED, UNKNOWN, Look, Trace


def trace(*looks: tuple[int, int, str]) -> Trace:
    made = Trace()
    for entry, (asked, answered, outcome) in enumerate(looks, start=1):
        made.add(asked, answered, outcome, False, entry)
    return made


def entries(looks: object) -> list[int]:
    return [look.entry for look in looks]  # type: ignore[attr-defined]


def test_looks_that_overtake_each_other_stand_in_the_order_of_asking() -> None:
    assert entries(trace((30, 31, "shown"), (10, 35, "shown"), (20, 36, "shown"))) == [2, 3, 1]


def test_a_time_out_while_our_own_loop_stood_still_is_unknown_and_breaks_nothing() -> None:
    made = Trace()
    made.add(1, 2, "unanswered", True, 1)
    made.add(3, 4, "unanswered", False, 2)
    made.add(5, 6, "not-shown", True, 3)
    assert [look.outcome for look in made] == [UNKNOWN, UNANSWERED, NOT_SHOWN]
    assert [look.bad for look in made] == [False, True, True]


def test_since_counts_from_asking_and_answered_since_takes_in_those_under_way() -> None:
    made = trace((10, 50, "shown"), (20, 25, "shown"), (30, 35, "shown"), (40, 45, "shown"))
    assert entries(made.since(30)) == [3, 4]
    assert entries(made.answered_since(30)) == [1, 3, 4]
    assert entries(made.back_from(30)) == [2, 1]


def test_inside_means_asked_and_answered_within() -> None:
    made = trace((10, 50, "shown"), (20, 25, "shown"), (30, 35, "shown"))
    assert entries(made.inside(10, 34)) == [2]
    assert entries(made.asked_in(10, 30)) == [1, 2, 3]


def test_the_first_answered_is_not_always_the_first_asked() -> None:
    made = trace((10, 50, "shown"), (20, 25, "not-shown"), (30, 35, "shown"), (60, 61, "shown"))
    assert made.first_answered(lambda look: look.outcome == SHOWN, 0) == Look(30, 35, SHOWN, 3)
    assert made.first_answered(lambda look: look.outcome == SHOWN, 61) is None
