"""What a survey asks of which backend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from veloz_chaos.core.capability import Reference
from veloz_chaos.core.survey import Wanted
from veloz_chaos.engine.survey import survey
from veloz_chaos.errors import Unavailable
from veloz_chaos.targets import fake

WAYS = [Wanted("wire", "link", way, {"id": "x"}) for way in ("here", "there", "nowhere", "plain")]


class Backends:
    """`plain` knows no system, `nowhere` does not answer."""

    def backend(self, name: str) -> Any:
        def system(_: Any) -> dict[str, str]:
            if name == "nowhere":
                raise Unavailable("no answer")
            return {"docker-id": name}

        known = SimpleNamespace(Selector=fake.Selector, find=fake.find)
        return known if name == "plain" else SimpleNamespace(**vars(known), system=system)


def test_every_way_is_asked_which_system_is_at_its_end_where_that_matters() -> None:
    found = survey(WAYS, Backends(), identify=True)
    assert found.systems == {"docker-id": {"wire (here)": "here", "wire (there)": "there"}}
    assert found.unidentified == {"wire (nowhere)": "no answer"}
    found = survey(WAYS, Backends())
    assert (found.systems, found.unidentified) == ({}, {})


def test_a_backend_that_knows_which_may_have_leftovers_spares_the_others_the_question() -> None:
    asked: list[str] = []

    class Left(fake.Fake):
        def leftovers(self) -> list[str]:
            asked.append(self.reference.name)
            return ["left"]

    few = SimpleNamespace(
        Selector=fake.Selector,
        find=lambda name, _: [
            Left(Reference(backend="few", name=f"{name}-{n}", identity={"id": "x"})) for n in range(3)
        ],
        doubted=lambda _, found: found[1:2],
    )
    found = survey([Wanted("wire", "link", "few", {"id": "x"})], SimpleNamespace(backend=lambda _: few)).found
    assert [one.leftovers for one in found["wire"]] == [(), ("left",), ()]
    assert asked == ["wire-1"]
