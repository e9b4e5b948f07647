"""A signal that comes while a sandbox is being started ends what was started, whatever Python does just then."""

from __future__ import annotations

import os
import signal

import pytest

from veloz_chaos.cli import choice


class Destroyed:
    """A signal comes while this is being taken away: what its handler raises then is lost to everybody."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_is_lost_is_remembered() -> None:
    with choice.terminable():
        Destroyed()
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            choice._unwind_at_last()


def test_what_came_before_is_forgotten() -> None:
    with pytest.raises(KeyboardInterrupt), choice.terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    with choice.terminable():
        choice._unwind_at_last()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_held_back_is_remembered_once_and_takes_nothing_away() -> None:
    with choice.terminable():
        choice.hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert choice.interrupted()
        assert not choice.interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_held_back_stays_so_beyond_the_sandbox() -> None:
    try:
        with choice.terminable():
            choice.hold()
        os.kill(os.getpid(), signal.SIGINT)
        assert choice.interrupted()
    finally:
        with choice.terminable():
            pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
