"""What targets export. Does a selector find anything, and if not, is it the metric, a label or a value that is missing?

Three answers are certain (present, absent, not known). The fourth, *silent*, is for what has no sample now and yet may
have one later: a value of an exporter's own label comes and goes, a target's label does not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from veloz_chaos.core.linting_labels import ANY, MISSING, Fit, Labels, Matcher, Values
from veloz_chaos.core.linting_setup import Job
from veloz_chaos.core.promql import Selector

Kind = Literal["present", "absent", "silent", "unknown"]
#: What Prometheus itself records of every target.
OF_TARGETS = frozenset(
    {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
     "scrape_series_added"}
)  # fmt: skip
#: What it records of its own rules.
OF_RULES = frozenset({"ALERTS", "ALERTS_FOR_STATE"})


@dataclass(frozen=True)
class Sighting:
    """What a selector finds."""

    kind: Kind
    #: of what it finds
    labels: Labels = ANY
    #: scrape jobs that may feed it
    jobs: frozenset[str] = frozenset()
    #: `metric-absent`, `label-absent`, … where it finds nothing
    code: str = ""
    why: str = ""
    remedy: str = ""
    #: it did find something before
    was: bool = False


@dataclass
class Exports:
    """`families`: metric -> the labels of its series, as far as rules and routes ask for them."""

    jobs: Mapping[str, Job]
    families: Mapping[str, tuple[Labels, ...]] = field(default_factory=dict)
    #: jobs of which `families` holds everything
    read: frozenset[str] = frozenset()
    #: everything there is, is in `families`
    complete: bool = False
    #: metrics that had samples at some time; those that are declared now, with samples or without
    seen: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()

    def find(self, selector: Selector) -> Sighting:
        if selector.vague or selector.name in OF_RULES:
            return Sighting("unknown", jobs=frozenset(self.jobs))
        if selector.name is None:
            return self._by_pattern(selector)
        series = self._series(selector.name)
        jobs = self._might(selector)
        if not series:
            return self._no_metric(selector, selector.name, jobs)
        fits = {id(one): one.fits(selector.matchers) for one in series}
        found = [one for one in series if fits[id(one)] is not Fit.NO]
        if any(fit is Fit.YES for fit in fits.values()):
            return Sighting("present", joined(found), _jobs(found) or jobs)
        if found:
            return Sighting("unknown", joined(found), _jobs(found) or jobs)
        return self._no_series(selector, series, jobs)

    def _series(self, name: str) -> tuple[Labels, ...]:
        if name in self.families:
            return self.families[name]
        if name in OF_TARGETS:
            return tuple(job.labels for job in self.jobs.values() if job.targets != 0)
        return ()

    def _might(self, selector: Selector) -> frozenset[str]:
        """The jobs that the matchers leave."""
        own = [one for one in selector.matchers if one.label == "job"]
        return frozenset(
            job.name for job in self.jobs.values()
            if job.labels.only(["job"]).fits(own) is not Fit.NO
            and (not job.prefixes or selector.name is None or selector.name in OF_TARGETS
                 or selector.name.startswith(job.prefixes))
        )  # fmt: skip

    def _unread(self, name: str, jobs: Iterable[str]) -> bool:
        """Might one of them export it, of which nobody knows what it exports?"""
        unread = [self.jobs[job] for job in jobs if job not in self.read]
        return not self.complete and any(not job.prefixes or name.startswith(job.prefixes) for job in unread)

    def _no_metric(self, selector: Selector, name: str, jobs: frozenset[str]) -> Sighting:
        own = [one for one in selector.matchers if one.label == "job"]
        if own and self.jobs and not jobs:
            return self._no_job(own[0])
        if name in OF_TARGETS and self.jobs:
            return Sighting("absent", jobs=jobs, code="metric-absent", why=f"job {_said(jobs)} has no target")
        if self._unread(name, jobs) or not (self.complete or self.read):
            return Sighting("unknown", jobs=jobs)
        if name in self.declared:
            return Sighting(
                "silent", jobs=jobs, code="metric-silent", why=f"`{name}` is declared and has no sample",
                remedy="set it from the start, with 0",
            )  # fmt: skip
        was = name in self.seen
        why = f"no target exports `{name}`" + (" any more" if was else "")
        why += "".join(f" (job {one} can't be scraped)" for one in sorted(jobs) if self.jobs[one].down)
        remedy = self.meant(name) or ("export it from the start, with 0" if was else "")
        return Sighting("absent", jobs=jobs, code="metric-absent", why=why, remedy=remedy, was=was)

    def _no_job(self, matcher: Matcher) -> Sighting:
        if idle := [name for name, job in self.jobs.items() if matcher.fits(job.labels.of("job")) is not Fit.NO]:
            return Sighting("absent", code="metric-absent", why=f"job {_said(idle)} has no target")
        close = nearest(matcher.value, self.jobs)
        remedy = f"did you mean `{close}`?" if close else f"jobs: {', '.join(sorted(self.jobs)[:12])}"
        return Sighting("absent", code="label-value-absent", why=f"no scrape job fits {matcher}", remedy=remedy)

    def _no_series(self, selector: Selector, series: tuple[Labels, ...], jobs: frozenset[str]) -> Sighting:
        """The metric is there, and none of its series fits."""
        if self._unread(selector.name or "", jobs) and selector.name not in OF_TARGETS:
            return Sighting("unknown", jobs=jobs)
        for matcher in selector.matchers:
            if all(one.fits([matcher]) is Fit.NO for one in series):
                return self._unfit(selector.name or "", matcher, joined(series), jobs)
        both = " and ".join(map(str, selector.matchers))
        return Sighting("silent", jobs=jobs, code="label-value-silent",
                        why=f"no series of `{selector.name}` has {both} at once now")  # fmt: skip

    def _unfit(self, name: str, matcher: Matcher, there: Labels, jobs: frozenset[str]) -> Sighting:
        values = there.of(matcher.label)
        if values == MISSING:
            labels = [label for label in there.values if there.of(label) != MISSING]
            close = nearest(matcher.label, labels)
            remedy = f"did you mean `{close}`?" if close else f"labels: {', '.join(sorted(labels)[:12])}" * bool(labels)
            return Sighting("absent", jobs=jobs, code="label-absent",
                            why=f"no series of `{name}` has a label `{matcher.label}`", remedy=remedy)  # fmt: skip
        if matcher.label == "job":
            return self._no_job(matcher)
        shown = sorted(values or ())
        close = nearest(matcher.value, shown)
        remedy = f"did you mean `{close}`?" if close else f"values: {', '.join(shown[:8])}"
        fixed = matcher.label in self._attached
        return Sighting(
            "absent" if fixed else "silent", jobs=jobs,
            code="label-value-absent" if fixed else "label-value-silent",
            why=f"no series of `{name}` has {matcher}" + ("" if fixed else " now"), remedy=remedy,
        )  # fmt: skip

    def _by_pattern(self, selector: Selector) -> Sighting:
        """`{__name__=~"…"}`: any metric that fits will do."""
        names = [one for one in selector.matchers if one.label == "__name__"]
        others = tuple(one for one in selector.matchers if one.label != "__name__")
        fitting = [
            name for name in {**self.families, **dict.fromkeys(OF_TARGETS)}
            if all(one.holds(name) is not False for one in names)
        ]  # fmt: skip
        found = [self.find(Selector(name, others)) for name in fitting]
        best = next((one for one in found if one.kind == "present"), None)
        if best or not self.complete or any(one.kind != "absent" for one in found):
            return best or Sighting("unknown", jobs=frozenset(self.jobs))
        return Sighting("absent", code="metric-absent", why=f"no target exports anything that fits {selector}")

    def meant(self, name: str) -> str:
        """`did you mean …?` for a metric, by the words in its name; empty where none is like it."""
        words = set(name.split("_"))
        scores: dict[str, int] = {}
        for word in words:
            for known in self._by_word.get(word, ()):
                if known != name:
                    scores[known] = scores.get(known, 0) + 1
        likely = sorted(scores, key=lambda known: (-scores[known] / len(words | set(known.split("_"))), known))[:20]
        close = nearest(name, [known for known in likely if scores[known] * 2 >= len(words)]) or nearest(
            name,
            [
                known
                for known in self._names
                if known != name and known[0] == name[0] and known.count("_") == name.count("_")
            ][:100],
        )
        return f"did you mean `{close}`?" if close else ""

    @cached_property
    def _names(self) -> list[str]:
        return sorted({*self.families, *self.declared, *self.seen} - {""})

    @cached_property
    def _by_word(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for name in self._names:
            for word in set(name.split("_")):
                index.setdefault(word, []).append(name)
        return index

    @cached_property
    def _attached(self) -> frozenset[str]:
        """Labels that come from targets, not from exporters: all of their values are known."""
        return frozenset(label for job in self.jobs.values() for label, said in job.labels.values.items() if said)


def nearest(word: str, words: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return close[0] if close else None


def joined(series: Iterable[Labels]) -> Labels:
    """The labels that any of them has."""
    series = list(series)
    if not series:
        return ANY
    names = dict.fromkeys(name for one in series for name in one.values)
    values: dict[str, Values] = {}
    for name in names:
        each = [one.of(name) for one in series]
        values[name] = None if None in each else frozenset(value for one in each for value in one or ())
    return Labels(values, any(one.others for one in series))


def _jobs(series: Iterable[Labels]) -> frozenset[str]:
    return frozenset(name for one in series for name in one.of("job") or () if name)


def _said(jobs: Iterable[str]) -> str:
    return ", ".join(sorted(jobs)) or "of that name"


def histogram_names(name: str, kind: str) -> Iterator[str]:
    """The series that a declaration of this type stands for."""
    if kind in ("histogram", "gaugehistogram"):
        yield from (f"{name}_bucket", f"{name}_sum", f"{name}_count")
    elif kind == "summary":
        yield from (name, f"{name}_sum", f"{name}_count")
    elif kind == "counter" and not name.endswith("_total"):
        yield from (name, f"{name}_total")
    else:
        yield name
