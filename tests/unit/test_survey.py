"""What a survey asks of which backend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
