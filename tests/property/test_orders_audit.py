"""A market that does what it must not to some of its orders: the audit finds exactly those, and none in a clean one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.property.simulation.market import BAD, written
from tests.property.simulation.profile import few, many
from veloz_chaos.core.audit import CATEGORIES, audit
from veloz_chaos.core.orders import read

fates = st.lists(st.none() | st.sampled_from(sorted(BAD)), max_size=40)
seeds = st.integers(0, 2**32)


@given(fates, seeds, st.booleans(), st.integers(0, 2))
@many
def test_exactly_what_went_wrong_is_found(wrong: list[str | None], seed: int, probes: bool, copies: int) -> None:
    world = written(wrong, seed, probes=probes, copies=copies)
    found = audit(read(world.data()))
    assert found.why == ""
    assert {name: sorted(found.ids[name]) for name in CATEGORIES} == {
        name: sorted(ids) for name, ids in world.expected.items()
    }
    assert found.clean == (not any(world.expected.values()))


@given(st.integers(0, 60), seeds, st.booleans())
@many
def test_a_clean_market_is_clean(size: int, seed: int, probes: bool) -> None:
    found = audit(read(written([None] * size, seed, probes=probes).data()))
    assert found.clean
    assert found.accepted + found.refused + found.unknown == size + 1


@given(st.sampled_from(sorted(BAD)), st.integers(1, 30), seeds)
@few
def test_every_order_that_is_told_says_what_was_sent_and_what_was_found(fate: str, count: int, seed: int) -> None:
    world = written([fate] * count, seed)
    found = audit(read(world.data()))
    assert found.count(fate) == count  # type: ignore[arg-type]
    told = found.cases[fate]  # type: ignore[index]
    assert [case.order for case in told] == list(found.ids[fate][:10])  # type: ignore[index]
    for case in told:
        assert case.history[0].what.startswith("placed")
        assert {"gateway", "exchange"} <= set(str(case).replace(",", "").split())
        assert list(case.history) == sorted(case.history, key=lambda operation: operation.at)


@given(fates, seeds, st.floats(0, 1), st.booleans())
@many
def test_a_history_that_was_cut_is_never_clean_before_its_last_read(
    wrong: list[str | None], seed: int, share: float, torn: bool
) -> None:
    data = written(wrong, seed).data()
    last_read = max(n for n, line in enumerate(data) if b'"op": "read"' in line)
    kept = data[: round(share * last_read)]
    if torn:
        kept.append(data[len(kept)][:-3])
    found = audit(read(kept))
    assert found.why
    assert not found.clean


@given(fates, seeds, st.sampled_from(["gateway", "exchange"]))
@few
def test_a_side_that_cannot_be_read_leaves_everything_open(wrong: list[str | None], seed: int, side: str) -> None:
    world = written(wrong, seed)
    refused = {"op": "read", "side": side, "at": world.lines[-1].get("at", 10**12), "ok": False, "why": "503"}
    world.lines.append(refused)
    assert audit(read(world.data())).why == f"the {side}'s orders could not be read: 503"
