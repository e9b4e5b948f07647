"""What a survey of the world found, as plain data: the inventory that a plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from veloz_chaos.core.capability import Offer, Reference


@dataclass(frozen=True)
class Wanted:
    """One service or link that an experiment touches, and the binding that leads there."""

    name: str
    kind: Literal["service", "link"]
    backend: str
    selector: Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """One incarnation behind a name."""

    reference: Reference
    offers: Mapping[str, Offer]
    leftovers: tuple[str, ...] = ()
    #: capability -> why this incarnation cannot, though its backend knows how
    lacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """What stands behind a name, by all its ways; `missing` says why a way leads nowhere."""

    found: Mapping[str, tuple[Found, ...]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    #: key of an identity -> name and way -> what the system at its end says it is
    systems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: name and way -> why that can't be told
    unidentified: Mapping[str, str] = field(default_factory=dict)
