"""The laws that every fault keeps on every target: look first, hurt, be seen, undo, and touch nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from tests.conformance.conftest import Start
from tests.conformance.pairs import EXAMPLES, known, pairs, prepared, until
from tests.conformance.rigs import SHARED, Rig, SharedRig, as_json
from veloz_chaos.core.capability import capability_of
from veloz_chaos.core.fault import Fault
from veloz_chaos.errors import Gone, TargetError

every = pytest.mark.parametrize(("kind", "fault"), pairs())
every_held = pytest.mark.parametrize(("kind", "fault"), pairs(held=True))
every_link = pytest.mark.parametrize(("kind", "fault"), pairs(SHARED, held=True))

Kind = type[Rig]
AnyFault = Fault[Any]


def test_every_fault_has_an_example() -> None:
    assert set(EXAMPLES) == set(known())


@every
def test_what_a_target_can_bear_it_offers(kind: Kind, fault: AnyFault) -> None:
    offer = next(offer for offer in kind.kind.offers if offer.capability == capability_of(fault.needs))
    assert offer.mechanism
    assert offer.touches


@every
def test_prepare_only_looks(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    assert rig.traces() == []
    assert target.alive()
    until(fault, target, receipt, shown=False)
    assert as_json(receipt) == receipt


@every
def test_in_place_after_inject_and_gone_after_revert(kind: Kind, fault: AnyFault, start: Start) -> None:
    target = start(kind).target()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    assert until(fault, target, receipt, shown=True)
    fault.revert(target, receipt)
    if fault.held:
        until(fault, target, receipt, shown=False)


@every
def test_revert_twice(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    fault.revert(target, receipt)
    fault.revert(target, receipt)
    if fault.held:
        assert rig.traces() == []


@every
def test_revert_without_inject(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    fault.revert(target, prepared(fault, target))
    assert rig.traces() == []
    assert target.alive()


@every_held
def test_a_journal_and_a_fresh_object_suffice_to_revert(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    reference = target.reference.model_validate_json(target.reference.model_dump_json())
    again = kind.backend.reopen(reference)
    fault.revert(again, as_json(receipt))
    until(fault, again, receipt, shown=False)
    assert rig.traces() == []


@every
def test_revert_after_the_target_is_gone(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    rig.remove()
    fault.revert(target, receipt)
    assert not target.alive()
    with pytest.raises(Gone):
        kind.backend.reopen(target.reference)


@every
def test_a_new_incarnation_is_not_touched(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    rig.replace()
    with suppress(TargetError):
        fault.inject(target, receipt)
    assert rig.traces() == []
    assert rig.target().alive()
    with pytest.raises(Gone):
        kind.backend.reopen(target.reference)


@every
def test_inject_into_what_is_gone_says_so(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    target = rig.target()
    receipt = prepared(fault, target)
    rig.remove()
    with pytest.raises(Gone):
        fault.inject(target, receipt)


@every_held
def test_what_is_in_place_is_told_as_a_leftover(kind: Kind, fault: AnyFault, start: Start) -> None:
    target = start(kind).target()
    assert target.leftovers() == []
    receipt = prepared(fault, target)
    fault.inject(target, receipt)
    assert target.leftovers()
    assert fault.by_hand(str(target.reference), receipt)


@every_link
def test_a_foreign_toxic_survives(kind: Kind, fault: AnyFault, start: Start) -> None:
    rig = start(kind)
    assert isinstance(rig, SharedRig)
    target = rig.target()
    receipt = prepared(fault, target)
    foreign = rig.add_foreign()
    fault.inject(target, receipt)
    fault.revert(target, receipt)
    assert rig.traces() == [foreign]
