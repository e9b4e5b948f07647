"""Rule files and the configurations of Prometheus and Alertmanager: YAML in, what `lint alerts` looks at out.

What the real reader refuses is refused here, everything wrong in a file at once; what is not looked at is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from veloz_chaos.core import linting_labels as labels
from veloz_chaos.core import promql
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_labels import Labels, Matcher, Values
from veloz_chaos.core.linting_setup import Group, Job, Literal_, Prometheus, Rule
from veloz_chaos.core.linting_yaml import Node, Spot, read, strings
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.errors import InvalidFile, Problem

#: What Prometheus takes where nothing is said.
EVERY, PATIENCE = 60 * SECOND, 10 * SECOND
_GROUP = ("name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy")
_RULE = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_SIZES = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_LITERAL = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?+=][^}]*)?\}")
#: What Prometheus exports of itself, which it scrapes by a job of its name.
_OWN = ("prometheus_", "go_", "process_", "promhttp_", "net_conntrack_")
#: `${1}` and `${name}` mean something there, and in external labels Prometheus does fill variables in.
_FILLED = re.compile(r"relabel_configs\[|external_labels")
T = TypeVar("T")


def duration(node: Node, default: int) -> int:
    """Nanoseconds. Raises InvalidFile."""
    text = node.text()
    return default if text == "" else length(text, node.spot)


def length(text: str, spot: Spot) -> int:
    """`1h30m`, `0` in nanoseconds. Raises InvalidFile."""
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0
    if not text or found is None:
        raise InvalidFile([spot.problem(f"`{text}` is not a duration", "write it as 30s or 1h30m")])
    return sum(int(number or 0) * size for number, size in zip(found.groups(), _SIZES, strict=True)) * 1_000_000


class Gathering:
    """Goes on after each part that is wrong, and raises all of it at the end."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def each(self, parts: Iterable[Node], make: Callable[[Node], T]) -> list[T]:
        return [made for part in parts for made in self.one(lambda part=part: make(part))]  # type: ignore[misc]

    def one(self, make: Callable[[], T]) -> list[T]:
        """What was made, or nothing."""
        try:
            return [make()]
        except InvalidFile as error:
            self.problems += error.problems
            return []

    def done(self) -> None:
        if self.problems:
            raise InvalidFile(self.problems)


def rules(text: str, file: str, every: int = EVERY, offset: int = 0) -> list[Rule]:
    """Of a rule file, or of the PrometheusRule objects in it. Raises InvalidFile."""
    gathering = Gathering()
    found: list[Rule] = []
    for document in read(text, file):
        root = document["spec"] if document["kind"].value == "PrometheusRule" else document
        gathering.one(lambda root=root: root.only(("groups",), "a rule file"))  # type: ignore[misc]
        for node in gathering.one(root["groups"].items):
            for one in node:
                found += _group(one, file, every, offset, gathering)
    gathering.done()
    return found


def _group(node: Node, file: str, every: int, offset: int, gathering: Gathering) -> list[Rule]:
    gathering.one(lambda: node.only(_GROUP, "a group"))
    made = gathering.one(
        lambda: Group(
            node["name"].text() or _missing(node, "a group needs a name"),
            file, duration(node["interval"], every), duration(node["query_offset"], offset),
        )
    )  # fmt: skip
    shared = gathering.one(node["labels"].map_of_texts)
    parts = gathering.one(node["rules"].items)
    if not (made and shared and parts):
        return []
    numbered = {id(part): number for number, part in enumerate(parts[0])}
    return gathering.each(parts[0], lambda part: _rule(part, made[0], shared[0], numbered[id(part)]))


def _missing(node: Node, what: str) -> str:
    raise node.invalid(what)


def _rule(node: Node, group: Group, shared: dict[str, str], order: int) -> Rule:
    node.only(_RULE, "a rule")
    alert, record = node["alert"].text(), node["record"].text()
    if bool(alert) == bool(record):
        raise node.invalid("a rule is one of `alert` and `record`", "write exactly one of them")
    if record and (node.has("for") or node.has("keep_firing_for") or node.has("annotations")):
        raise node.invalid("a recording rule has no `for`, `keep_firing_for` or annotations", "leave them out")
    text = node["expr"].text()
    return Rule(
        alert or record, bool(record), text, _parsed(text, node), shared | node["labels"].map_of_texts(),
        duration(node["for"], 0), duration(node["keep_firing_for"], 0), group, order,
        node.keys["alert" if alert else "record"],
    )  # fmt: skip


def _parsed(text: str, node: Node) -> promql.Tree:
    try:
        return promql.parse(text)
    except ValueError as error:
        place = node["expr"].spot if node.has("expr") else node.spot
        raise InvalidFile([place.problem(f"`{_short(text)}` is no PromQL: {error}")]) from None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"


def prometheus(root: Node, others: Sequence[Node] = ()) -> tuple[Prometheus, list[Node]]:
    """Without rules; and the patterns of its rule files. `others`: its scrape_config_files. Raises InvalidFile."""
    gathering = Gathering()
    general = root["global"]
    every = gathering.one(lambda: duration(general["scrape_interval"], EVERY))
    patience = gathering.one(lambda: duration(general["scrape_timeout"], PATIENCE))
    external = gathering.one(general["external_labels"].map_of_texts)
    written = [node for one in (root, *others) for node in one["scrape_configs"].items()]
    made = gathering.each(written, lambda node: _job(node, *every, *patience))
    changed = gathering.one(lambda: _changed(root["alerting"]["alert_relabel_configs"].items()))
    gathering.one(lambda: evaluation(root))
    patterns = root["rule_files"].items()
    gathering.each(patterns, Node.text)
    gathering.done()
    return Prometheus(
        jobs={job.name: job for job in made},
        external=external[0],
        relabelled=changed[0],
        literals=tuple(one for node in (root, *others) for one in literals(node)),
        sends=bool(root["alerting"]["alertmanagers"].items()),
        spot=root.spot,
    ), patterns


def evaluation(root: Node) -> tuple[int, int]:
    """How often groups are evaluated that do not say it, and how far back they look. Raises InvalidFile."""
    general = root["global"]
    return duration(general["evaluation_interval"], EVERY), duration(general["rule_query_offset"], 0)


def _job(node: Node, every: int = EVERY, patience: int = PATIENCE) -> Job:
    name = node["job_name"].text() or _missing(node, "a scrape configuration needs a job_name")
    interval = duration(node["scrape_interval"], every)
    timeout = duration(node["scrape_timeout"], min(patience, interval))
    found = any(key.endswith("_sd_configs") for key in node.mapping())
    static = node["static_configs"].items()
    count = sum(len(one["targets"].items()) for one in static)
    prefixes = _OWN if name == "prometheus" and not (found or node.has("metrics_path")) else ()
    labels = _attached(node, name, static, found)
    return Job(name, interval, timeout, labels, node.spot, targets=None if found else count, prefixes=prefixes)


def _attached(node: Node, name: str, static: Sequence[Node], found: bool) -> Labels:
    """The labels of its targets; what is relabelled or discovered may be anything."""
    values: dict[str, Values] = {"job": frozenset({name}), "instance": None}
    said = [one["labels"].map_of_texts() for one in static]
    for label in sorted({label for one in said for label in one}):
        otherwise = {"job": name, "instance": None}.get(label, "")
        each = [one.get(label, otherwise) for one in said]
        values[label] = None if None in each else frozenset(value for value in each if value is not None)
    changed = _changed([*node["relabel_configs"].items(), *node["metric_relabel_configs"].items()])
    if node["honor_labels"].text() == "true":
        values |= {"job": None}
    values |= dict.fromkeys(changed or ())
    return Labels(values, others=found or changed is None)


def _changed(relabelling: Sequence[Node]) -> frozenset[str] | None:
    """The labels that may be changed; None for any of them."""
    actions = {one["action"].text("replace").lower() for one in relabelling}
    if actions & {"labelmap", "labeldrop", "labelkeep"}:
        return None
    return frozenset(one["target_label"].text() for one in relabelling if one.has("target_label"))


def literals(root: Node) -> Iterator[Literal_]:
    """What is left as `${…}`, where nobody fills it in."""
    for path, node in strings(root):
        found = _LITERAL.search(node.text())
        if found and not _FILLED.search(path):
            yield Literal_(path, found[0], node.spot)


def matchers(node: Node) -> tuple[Matcher, ...]:
    """`matchers`, `match` and `match_re` of a route. Raises InvalidFile."""
    found: list[Matcher] = []
    for one in node["matchers"].items() if isinstance(node["matchers"].value, list) else [node["matchers"]]:
        found += _matchers(one)
    for key, op in (("match", "="), ("match_re", "=~")):
        found += [Matcher(label, op, value) for label, value in node[key].map_of_texts().items()]
    return tuple(found)


def _matchers(node: Node) -> list[Matcher]:
    try:
        return labels.matchers(node.text())
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        raise node.invalid(message, remedy) from None


def known(node: Node, names: Iterable[str], what: str) -> str:
    """A name that must be there. Raises InvalidFile."""
    name = node.text()
    names = list(names)
    if name not in names:
        raise node.invalid(f"there is no {what} `{name}`", did_you_mean(name, names))
    return name
