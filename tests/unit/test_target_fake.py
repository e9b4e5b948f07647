"""The flaws of the fake: what the engine's tests lean on."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta

import pytest

from veloz_chaos.errors import Gone, Unavailable
from veloz_chaos.targets.fake import WORLD, Fake, Flaw, Selector, find, reopen, restart

numbers = itertools.count(1)
DELAY, PATIENCE = timedelta(milliseconds=50), timedelta(seconds=1)
EXPIRES = timedelta(minutes=1)


def made(flaw: Flaw | None = None) -> Fake:
    (fake,) = find("it", Selector(id=f"fake-{next(numbers)}", flaw=flaw))
    return fake


def test_delays_add_up_and_are_forgotten_by_sign() -> None:
    fake = made()
    fake.delay("vc-1", DELAY, timedelta(0), EXPIRES)
    fake.delay("vc-2", DELAY, timedelta(0), EXPIRES)
    assert fake.pass_through(1, PATIENCE).seconds > 0.1
    fake.undelay("vc-1")
    assert 0.05 < fake.pass_through(1, PATIENCE).seconds < 0.1


def test_does_nothing() -> None:
    fake = made("does-nothing")
    fake.kill("KILL")
    fake.pause()
    fake.sever("vc-1", "silent", "all", EXPIRES)
    assert fake.alive()
    assert not fake.paused()
    assert fake.pass_through(1, PATIENCE).outcome == "answered"


def test_revert_fails() -> None:
    fake = made("revert-fails")
    fake.pause()
    with pytest.raises(Unavailable):
        fake.resume()
    assert fake.paused()


def test_dies_by_itself() -> None:
    fake = made("dies-by-itself")
    fake.pause()
    assert not fake.alive()
    fake.resume()


def test_hangs_until_released() -> None:
    fake = made("hangs")
    pausing = threading.Thread(target=fake.pause, daemon=True)
    pausing.start()
    pausing.join(0.05)
    assert pausing.is_alive()
    WORLD[fake.reference.identity["id"]].released.set()
    pausing.join(10)
    assert fake.paused()


def test_unavailable() -> None:
    fake = made("unavailable")
    for call in (fake.alive, fake.pause, fake.resume, fake.leftovers, lambda: reopen(fake.reference)):
        with pytest.raises(Unavailable):
            call()


def test_a_restart_is_another_incarnation() -> None:
    fake = made()
    fake.kill("KILL")
    restart(fake.reference.identity["id"])
    assert not fake.alive()
    with pytest.raises(Gone):
        reopen(fake.reference)
    (fresh,) = find("it", Selector(id=fake.reference.identity["id"]))
    assert fresh.alive()
    assert fresh.reference != fake.reference


def test_another_process_knows_nothing() -> None:
    fake = made()
    del WORLD[fake.reference.identity["id"]]
    with pytest.raises(Gone):
        reopen(fake.reference)
