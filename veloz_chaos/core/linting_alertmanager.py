"""Alertmanager's configuration: its tree of routes with all that is inherited, receivers and inhibitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_config import Gathering, duration, known, literals, matchers
from veloz_chaos.core.linting_labels import Matcher
from veloz_chaos.core.linting_setup import Alertmanager, Inhibition, Receiver, Route
from veloz_chaos.core.linting_yaml import Node, Spot

#: What Alertmanager takes where nothing is said.
_WAIT, _INTERVAL = 30 * SECOND, 300 * SECOND
_KEYS = (
    "receiver", "group_by", "group_wait", "group_interval", "repeat_interval", "match", "match_re", "matchers",
    "continue", "routes", "mute_time_intervals", "active_time_intervals",
)  # fmt: skip
_INTEGRATION = "_configs"


def alertmanager(root: Node) -> Alertmanager:
    """Raises InvalidFile with everything that is wrong."""
    gathering = Gathering()
    receivers = gathering.each(root["receivers"].items(), receiver)
    times = [one["name"].text() for key in ("time_intervals", "mute_time_intervals") for one in root[key].items()]
    names = _Names([one.name for one in receivers], times)
    if root["route"].value is None:
        gathering.one(lambda: _refuse(root, "there is no `route`", "write one with a receiver"))
    routes = gathering.one(lambda: _tree(root["route"], names, gathering)) if root["route"].value is not None else []
    inhibitions = gathering.each(root["inhibit_rules"].items(), inhibition)
    gathering.done()
    return Alertmanager(routes[0], {one.name: one for one in receivers}, tuple(inhibitions), tuple(literals(root)))


def _refuse(node: Node, message: str, remedy: str) -> None:
    raise node.invalid(message, remedy)


class _Names:
    def __init__(self, receivers: Iterable[str], times: Iterable[str]) -> None:
        self.receivers = list(receivers)
        self.times = list(times)


def receiver(node: Node) -> Receiver:
    """Raises InvalidFile."""
    name = node["name"].text()
    if not name:
        raise node.invalid("a receiver needs a name")
    kinds = [key for key in node.mapping() if key.endswith(_INTEGRATION)]
    said = [kind.removesuffix(_INTEGRATION) for kind in kinds for _ in node[kind].items()]
    return Receiver(name, tuple(said), node.spot)


def _tree(node: Node, names: _Names, gathering: Gathering) -> Route:
    root = Route("route", "", (), False, frozenset(), _WAIT, _INTERVAL, (), (), (), Spot())
    made = _route(node, root, "route", names, gathering)
    if made.matchers:
        gathering.one(lambda: _refuse(node, "the root route has matchers", "it takes every alert: leave them out"))
    if not made.receiver:
        gathering.one(lambda: _refuse(node, "the root route has no receiver", "name one"))
    return made


def _route(node: Node, parent: Route, path: str, names: _Names, gathering: Gathering) -> Route:
    node.only(_KEYS, "a route")
    receiver = known(node["receiver"], names.receivers, "receiver") if node.has("receiver") else parent.receiver
    here = Route(
        path, receiver, matchers(node), node["continue"].text() == "true",
        _grouping(node) if node.has("group_by") else parent.group_by,
        duration(node["group_wait"], parent.wait), duration(node["group_interval"], parent.interval),
        _times(node["mute_time_intervals"], names), _times(node["active_time_intervals"], names), (), node.spot,
    )  # fmt: skip
    below: list[Route] = []
    for number, one in enumerate(node["routes"].items()):
        at = f"{path}.routes[{number}]"
        below += gathering.one(lambda one=one, at=at: _route(one, here, at, names, gathering))  # type: ignore[misc]
    return replace(here, routes=tuple(below))


def _times(node: Node, names: _Names) -> tuple[str, ...]:
    return tuple(known(one, names.times, "time interval") for one in node.items())


def _grouping(node: Node) -> frozenset[str] | None:
    said = node["group_by"].texts()
    return None if "..." in said else frozenset(said)


def inhibition(node: Node) -> Inhibition:
    """Raises InvalidFile."""
    sides = {side: _side(node, side) for side in ("source", "target")}
    return Inhibition(sides["source"], sides["target"], tuple(node["equal"].texts()), node.spot)


def _side(node: Node, side: str) -> tuple[Matcher, ...]:
    """`source_matchers`, `source_match` and `source_match_re`, as those of a route are named."""
    keys = {f"{side}_{key}": key for key in ("matchers", "match", "match_re")}
    return matchers(Node({short: node[full] for full, short in keys.items() if node.has(full)}, node.spot))
