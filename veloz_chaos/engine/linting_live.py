"""Rules, targets, metrics and routes of a running Prometheus and Alertmanager, from their APIs; nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from veloz_chaos.core import linting_config, promql
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_alertmanager import alertmanager
from veloz_chaos.core.linting_exports import OF_RULES, Exports, histogram_names, joined
from veloz_chaos.core.linting_labels import Labels, quoted
from veloz_chaos.core.linting_setup import Alertmanager, Finding, Group, Job, Prometheus, Rule
from veloz_chaos.core.linting_yaml import Node, Spot, read
from veloz_chaos.core.promql import Aggregate, Binary, Selector, Tree, children, selectors
from veloz_chaos.errors import Unavailable
from veloz_chaos.mechanisms.monitoring_api import Server

#: Metrics that are asked for at once, and questions under way at the same time.
AT_ONCE, UNDER_WAY = 100, 4
_CONFIG = "/api/v1/status/config"
#: What it shows in place of a secret.
_MASK = "<secret>"
_STATUS = "/api/v2/status"


@contextmanager
def _understood(server: Server) -> Iterator[None]:
    """What speaks the same protocol may leave out what we need. Raises Unavailable."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        why = f"it does not answer as {server.what} does ({type(error).__name__}: {error})"
        raise Unavailable(f"{server.what} {server.written}: {why}") from None


async def prometheus(server: Server) -> Prometheus:
    """Its rules, jobs and configuration. Raises Unavailable."""
    answers = await asyncio.gather(
        server.data(_CONFIG), server.data("/api/v1/rules"), server.data("/api/v1/targets?state=active"),
        server.data("/api/v1/alertmanagers"),
    )  # fmt: skip
    config, rules, targets, managers = answers
    with _understood(server):
        root = _root(str(config["yaml"]), server.place(_CONFIG))
        made, _ = linting_config.prometheus(root)
        _, offset = linting_config.evaluation(root)
        return replace(
            made,
            rules=tuple(_rules(rules["groups"], offset)),
            jobs=_jobs(targets["activeTargets"], made.jobs),
            sends=bool(managers["activeAlertmanagers"]),
        )


def _root(text: str, place: str) -> Node:
    found = read(text, place)
    return found[0] if found else Node(None, Spot(place, 1, 1))


def _rules(groups: Sequence[Mapping[str, Any]], offset: int) -> Iterator[Rule]:
    for one in groups:
        group = Group(one["name"], one["file"], _nanoseconds(one["interval"]), offset)
        for order, rule in enumerate(one["rules"]):
            yield _rule(rule, group, order)


def _rule(said: Mapping[str, Any], group: Group, order: int) -> Rule:
    try:
        tree: Tree | None = promql.parse(said["query"])
    except ValueError:
        tree = None  # what Prometheus runs is PromQL, even if we can't read it
    firing = sorted(one["activeAt"] for one in said.get("alerts") or () if one.get("state") == "firing")
    return Rule(
        said["name"], said["type"] == "recording", said["query"], tree, said.get("labels") or {},
        _nanoseconds(said.get("duration", 0)), _nanoseconds(said.get("keepFiringFor", 0)), group, order,
        Spot(f"{group.file}, group {group.name}"), firing[0] if firing else "",
        said.get("lastError", "") if said.get("health") == "err" else "",
    )  # fmt: skip


def _nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND)


def _jobs(targets: Sequence[Mapping[str, Any]], written: Mapping[str, Job]) -> dict[str, Job]:
    """By the label `job` that targets really have; a job that has none is there by the name it is written with."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for target in targets:
        found.setdefault(target["labels"].get("job", target.get("scrapePool", "")), []).append(target)
    pools = {target.get("scrapePool") for target in targets}
    idle = {name: replace(job, targets=0) for name, job in written.items() if name not in pools and name not in found}
    return idle | {name: _job(name, some, written) for name, some in found.items()}


def _job(name: str, targets: Sequence[Mapping[str, Any]], written: Mapping[str, Job]) -> Job:
    said = written.get(str(targets[0].get("scrapePool", name)))
    spot = said.spot if said else Spot()
    down = [one for one in targets if one["health"] == "down"]
    why = str(down[0]["lastError"]) if len(down) == len(targets) else ""
    labels = joined(Labels({key: frozenset({value}) for key, value in one["labels"].items()}) for one in targets)
    return Job(
        name,
        max(_told(one, "scrapeInterval", said.interval if said else linting_config.EVERY, spot) for one in targets),
        max(_told(one, "scrapeTimeout", said.timeout if said else linting_config.PATIENCE, spot) for one in targets),
        labels, spot, why, len(targets), any(one["health"] == "unknown" for one in targets),
        said.prefixes if said else (),
    )  # fmt: skip


def _told(target: Mapping[str, Any], key: str, otherwise: int, spot: Spot) -> int:
    """Older servers do not tell it."""
    return linting_config.length(target[key], spot) if target.get(key) else otherwise


async def exports(server: Server, made: Prometheus, asked: Iterable[str]) -> Exports:
    """What rules read, as it is now; `asked`: labels that somebody else will ask for. Raises Unavailable."""
    reading = _Reading(server, made.rules, frozenset(asked) | {"job", "severity", "failure", *made.external})
    families, names, declared = await asyncio.gather(
        reading.families(), server.data("/api/v1/label/__name__/values"), server.data("/api/v1/metadata")
    )
    with _understood(server):
        full = {each for name, said in declared.items() for one in said for each in histogram_names(name, one["type"])}
    scraped = frozenset(name for name, job in made.jobs.items() if not job.fresh)
    return Exports(
        made.jobs, families, scraped, scraped == made.jobs.keys(), frozenset(names) - families.keys(), frozenset(full)
    )


class _Reading:
    """The series of every metric that a rule reads, told apart only by the labels that anybody asks for."""

    def __init__(self, server: Server, rules: Iterable[Rule], asked: frozenset[str]) -> None:
        self._server, self._turns = server, asyncio.Semaphore(UNDER_WAY)
        self._labels: dict[str, set[str]] = {}
        self._nameless: dict[str, set[str]] = {}
        for rule in rules:
            if rule.tree is not None:
                self._note(rule.tree, asked)

    def _note(self, tree: Tree, asked: frozenset[str]) -> None:
        labels = asked | set(_grouped(tree))
        for one in selectors(tree):
            own = {matcher.label for matcher in one.matchers} - {"__name__"}
            if one.name is None:
                text = str(Selector(None, one.matchers))
                self._nameless.setdefault(text, set()).update(labels | own)
            elif one.name not in OF_RULES:
                self._labels.setdefault(one.name, set()).update(labels | own)

    async def families(self) -> dict[str, tuple[Labels, ...]]:
        names = sorted(self._labels)
        parts = [names[n : n + AT_ONCE] for n in range(0, len(names), AT_ONCE)]
        named = [self._asked(_chosen(part), set().union(*map(self._wanted, part))) for part in parts]
        others = [self._asked(text, labels) for text, labels in self._nameless.items()]
        found: dict[str, tuple[Labels, ...]] = {}
        for answer in reversed(await asyncio.gather(*named, *others)):  # whole metrics win over parts of them
            found |= answer
        return found

    def _wanted(self, name: str) -> set[str]:
        return self._labels[name] | ({"le"} if name.endswith("_bucket") else set())

    async def _asked(self, selector: str, labels: set[str]) -> dict[str, tuple[Labels, ...]]:
        by = ", ".join(["__name__", *sorted(label if label.isidentifier() else quoted(label) for label in labels)])
        async with self._turns:
            told = await self._server.data("/api/v1/query", {"query": f"count by ({by}) ({selector})"})
        found: dict[str, list[Labels]] = {}
        with _understood(self._server):
            for one in told["result"]:
                series = dict(one["metric"])
                found.setdefault(series.pop("__name__", ""), []).append(
                    Labels({label: frozenset({value}) for label, value in series.items()})
                )
        return {name: tuple(some) for name, some in found.items()}


def _chosen(names: Sequence[str]) -> str:
    """A selector of all of them."""
    pattern = "|".join("".join(c if c.isalnum() or c in "_:" else f"\\{c}" for c in name) for name in names)
    return f"{{__name__=~{quoted(pattern)}}}"


def _grouped(tree: Tree) -> Iterator[str]:
    """The labels that an expression names beside its selectors."""
    if isinstance(tree, Aggregate):
        yield from (*(tree.by or ()), *tree.without)
    if isinstance(tree, Binary):
        yield from (*(tree.on or ()), *tree.ignoring, *tree.taken)
    for part in children(tree):
        yield from _grouped(part)


async def manager(servers: Sequence[Server]) -> tuple[Alertmanager, list[Finding]]:
    """Of the first that answers; what is to be said of the others. Raises Unavailable if none does."""
    answers = await asyncio.gather(*map(_manager, servers), return_exceptions=True)
    answered = [(server, one) for server, one in zip(servers, answers, strict=True) if isinstance(one, tuple)]
    failed = [one for one in answers if isinstance(one, BaseException)]
    for one in failed:
        if not isinstance(one, Unavailable):
            raise one
    if not answered:
        raise Unavailable("\n".join(map(str, failed)))
    notes = [
        Finding("alertmanager-away", "note", "Alertmanager", str(one), "the others were looked at") for one in failed
    ]
    server, (text, alerts) = answered[0]
    for other, (its, _) in answered[1:]:
        if its != text:
            message = f"{other.written} has another configuration than {server.written}, which was looked at"
            notes.append(Finding("alertmanagers-differ", "defect", "Alertmanager", message, "give both the same"))
    made = alertmanager(_root(text, server.place(_STATUS)))
    if _MASK in text:
        message = "a running one shows no secrets: whether one is literally `${…}` is not known"
        notes.append(
            Finding("secrets-unread", "note", "Alertmanager", message, "look at its file, by --alertmanager-config")
        )
    once = {one.reference: one for one in reversed(made.literals)}  # what is said globally it repeats in each receiver
    return replace(made, alerts=tuple(alerts), literals=tuple(reversed(once.values()))), notes


async def _manager(server: Server) -> tuple[str, list[Mapping[str, str]]]:
    """Its configuration, and the labels of the alerts that it has."""
    status, alerts = await asyncio.gather(server.json(_STATUS), server.json("/api/v2/alerts"))
    with _understood(server):
        return str(status["config"]["original"]), [dict(one["labels"]) for one in alerts]
