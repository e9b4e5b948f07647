"""Rules, configurations and pages of metrics from files, as their owners keep them."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from veloz_chaos.core import linting_config
from veloz_chaos.core.linting_alertmanager import alertmanager
from veloz_chaos.core.linting_exports import Exports, histogram_names
from veloz_chaos.core.linting_labels import Labels, Values
from veloz_chaos.core.linting_setup import Alertmanager, Finding, Job, Prometheus, Rule
from veloz_chaos.core.linting_yaml import Node, read
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.errors import InvalidFile, Problem, UsageError
from veloz_chaos.mechanisms import exposition, http
from veloz_chaos.mechanisms.monitoring_api import LARGEST, PATIENCE


def text(path: Path) -> str:
    """Raises InvalidFile."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidFile([Problem(str(path), 1, 1, "is not UTF-8 text", "save it as UTF-8")]) from None
    except OSError as error:
        raise InvalidFile([Problem(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None


def manager(path: Path) -> Alertmanager:
    """Raises InvalidFile."""
    return alertmanager(_one(path))


def _one(path: Path) -> Node:
    found = read(text(path), str(path))
    if not found:
        raise InvalidFile([Problem(str(path), 1, 1, "the file is empty")])
    found[0].mapping()
    return found[0]


@dataclass(frozen=True)
class Written:
    """What files say of Prometheus's side."""

    prometheus: Prometheus
    exports: Exports
    findings: tuple[Finding, ...] = ()
    #: where the rules are
    rules: tuple[Path, ...] = ()


def prometheus(config: Path | None, rules: Sequence[str], pages: Sequence[str]) -> Written:
    """`rules` replace those that the configuration names. Raises UsageError, InvalidFile, with all that is wrong."""
    gathering = linting_config.Gathering()
    made, patterns = Prometheus(), list[Node]()
    every = (linting_config.EVERY, 0)
    if config is not None:
        made, patterns, every = _configured(config)
    notes: list[Finding] = []
    files = _named(rules) if rules else _of_config(config, patterns, notes)
    read_rules: list[Rule] = []
    for path in files:
        for some in gathering.one(lambda path=path: linting_config.rules(text(path), str(path), *every)):  # type: ignore[misc]
            read_rules += some
    gathering.done()
    made = replace(made, rules=tuple(read_rules))
    exports = _exports(made.jobs, pages)
    return Written(replace(made, jobs=exports.jobs), exports, tuple(notes), tuple(files))


def _configured(config: Path) -> tuple[Prometheus, list[Node], tuple[int, int]]:
    """And the patterns of its rule files, and how their groups are evaluated. Raises InvalidFile."""
    root = _one(config)
    made, patterns = linting_config.prometheus(root, _included(config, root))
    return made, patterns, linting_config.evaluation(root)


def _included(config: Path, root: Node) -> list[Node]:
    """Its scrape_config_files. Raises InvalidFile, for without them jobs would be missing."""
    found: list[Node] = []
    for node in root["scrape_config_files"].items():
        paths = _matching(str(config.parent / node.text()))
        if not paths:
            raise node.invalid(f"`{node.text()}` matches no file here", "put them where it says")
        found += map(_one, paths)
    return found


def _named(patterns: Iterable[str]) -> list[Path]:
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = _matching(pattern)
        if not paths:
            raise UsageError(f"--rules {pattern}: no such file")
        found |= dict.fromkeys(paths)
    return list(found)


def _matching(pattern: str) -> list[Path]:
    """As `rule_files` has it: `*`, `?` and `[…]`; a folder is none of its files."""
    if Path(pattern).is_dir():
        raise UsageError(f"{pattern} is a folder; write {pattern.rstrip('/')}/*.yml")
    return sorted(Path(name) for name in glob.glob(pattern) if not Path(name).is_dir())  # noqa: PTH207


def _of_config(config: Path | None, patterns: Sequence[Node], notes: list[Finding]) -> list[Path]:
    """Relative to the configuration, as Prometheus takes them."""
    found: dict[Path, None] = {}
    for node in patterns:
        paths = _matching(str((config or Path()).parent / node.text()))
        found |= dict.fromkeys(paths)
        if not paths:
            notes.append(Finding("rule-files-missing", "note", "rule_files", f"{node.text()} matches no file here",
                                 "give the files by --rules", node.spot))  # fmt: skip
    if not found:
        said = ", ".join(node.text() for node in patterns)
        raise UsageError(
            f"{config}: {f'rule_files ({said}) match no file here' if said else 'it names no rule_files'}; "
            "give them by --rules"
        )
    return list(found)


def _exports(jobs: Mapping[str, Job], pages: Sequence[str]) -> Exports:
    """Raises UsageError."""
    jobs = dict(jobs)
    families: dict[str, list[Labels]] = {}
    declared: set[str] = set()
    of = {name for name, job in jobs.items() if job.targets == 0}
    whole = False
    for written in pages:
        name, place = _page_of(written, jobs)
        content, why = _content(place)
        if name is None and why:
            raise UsageError(f"--metrics {written}: {why}")
        whole = whole or name is None
        if name is not None:
            of.add(name)
            jobs[name] = replace(jobs[name], down=why)
        series, types = _parsed(content, written)
        attached = _attached(jobs, name)
        for one in series:
            families.setdefault(one.name, []).append(_joined(dict(one.labels), attached))
        declared |= {full for metric, kind in types.items() for full in histogram_names(metric, kind)}
    return Exports(jobs, {name: tuple(found) for name, found in families.items()}, frozenset(of), whole,
                   declared=frozenset(declared))  # fmt: skip


def _page_of(written: str, jobs: Mapping[str, Job]) -> tuple[str | None, str]:
    """`JOB=FILE`, `JOB=URL`, or either alone: then it is all there is."""
    name, equals, place = written.partition("=")
    if not equals or written.startswith(("http://", "https://")) or Path(written).is_file():
        return None, written
    if name not in jobs:
        remedy = did_you_mean(name, jobs) if jobs else "give --prometheus-config, which says what is scraped"
        raise UsageError(f"--metrics {written}: there is no scrape job `{name}`; {remedy}")
    return name, place


def _content(place: str) -> tuple[str, str]:
    """A page; or why it can't be had, which is what Prometheus would meet too. Raises UsageError for a file."""
    if place.startswith(("http://", "https://")):
        return asyncio.run(_fetched(place))
    try:
        page = Path(place).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"--metrics {place}: is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"--metrics {place}: {error.strerror}") from None
    return page, "" if page.strip() else "the page is empty"


async def _fetched(place: str) -> tuple[str, str]:
    url = http.filled(place, place)
    way = http.Way()
    await way.open(place)
    try:
        async with asyncio.timeout(PATIENCE):
            seen = await http.ask(url, http.get(place, url, {}), way, LARGEST)
    except TimeoutError:
        return "", f"no answer in {PATIENCE:g} s"
    if seen.error or seen.status != 200:
        return "", seen.error or f"HTTP {seen.status}"
    return seen.text, ""


def _parsed(content: str, written: str) -> tuple[frozenset[exposition.Series], dict[str, str]]:
    try:
        return exposition.page(content)
    except ValueError as error:
        raise UsageError(f"--metrics {written}: no page of metrics: {error}") from None


def _attached(jobs: Mapping[str, Job], name: str | None) -> Labels:
    """The labels of the job's targets; of any, where it is not said which."""
    if name is not None:
        return jobs[name].labels
    found: dict[str, Values] = {"job": None, "instance": None}
    found |= {label: None for job in jobs.values() for label in job.labels.values}
    return Labels(found, any(job.labels.others for job in jobs.values()))


def _joined(own: dict[str, str], attached: Labels) -> Labels:
    """Labels of the target win over the exporter's own."""
    return Labels({**{name: frozenset({value}) for name, value in own.items()}, **attached.values}, attached.others)
