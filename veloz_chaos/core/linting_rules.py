"""What is wrong with rules alone: metrics and labels that nobody exports, alerts that can never fire or always do."""

from __future__ import annotations

from collections.abc import Iterator

from veloz_chaos.core.linting_exports import Sighting
from veloz_chaos.core.linting_outcome import Outcome
from veloz_chaos.core.linting_setup import Finding, Job, Rule
from veloz_chaos.core.linting_whole import Whole, listed, watches
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.core.promql import Selector, selectors


def findings(whole: Whole) -> Iterator[Finding]:
    for job in whole.exports.jobs.values():
        if job.down:
            yield _down(job)
    for rule in whole.prometheus.rules:
        yield from _Rule(whole, rule).findings()
    yield from _unread(whole)


def _down(job: Job) -> Finding:
    return Finding("job-down", "defect", f"job {job.name}", f"none of its targets can be scraped: {job.down}",
                   "mend the target, its address or its path", job.spot)  # fmt: skip


class _Rule:
    def __init__(self, whole: Whole, rule: Rule) -> None:
        self._whole, self._rule = whole, rule
        self._outcome: Outcome = whole.outcomes[id(rule)]
        self._always = whole.always(rule)
        self._seen = _sightings(whole, rule)

    def findings(self) -> Iterator[Finding]:
        rule = self._rule
        if rule.tree is None:
            yield self._note("rule-unread", f"its expression is one that we can't read: {rule.text}")
        if rule.error:
            yield self._defect("rule-broken", f"its evaluation fails: {rule.error}")
        absent = [one for one in self._seen if one.kind == "absent"]
        for one in absent:
            yield self._defect(one.code, f"{one.why}: {self._effect(one)}", one.remedy)
        for one in self._seen:
            if one.kind == "silent":
                yield self._note(one.code, one.why, one.remedy)
        if not rule.records:
            yield from self._fires(bool(absent))
            yield from self._rows()

    def _effect(self, absent: Sighting) -> str:
        what = "record anything" if self._rule.records else "fire"
        if self._outcome.nothing == absent.why:
            return f"it can't {what}" if absent.was else f"it can never {what}"
        if self._always and not self._rule.records:
            return "it always fires"
        return "that part of it finds nothing"

    def _fires(self, told: bool) -> Iterator[Finding]:
        """`told`: that something is absent, and what comes of it."""
        outcome, rule = self._outcome, self._rule
        if outcome.nothing and not told:
            yield self._defect("never-fires", f"it can never fire: {outcome.nothing}")
        elif self._always and not (told and outcome.always):
            down = self._why_down()
            remedy = "mend the scrape" if down else _COMPARE
            yield self._defect("always-fires", f"it always fires: {self._always}{down}", remedy)
        elif outcome.bare and not outcome.nothing and not watches(rule) and self._plain():
            yield self._defect("always-fires", f"it fires as soon as there is a sample: {outcome.bare}", _COMPARE)
        elif rule.firing and not self._always and not watches(rule):
            yield self._defect("fires-already", f"it fires already, since {rule.firing}",
                               "no run can tell whether it would: mend what it says, or the rule")  # fmt: skip

    def _rows(self) -> Iterator[Finding]:
        """A label `failure` that is no row of the document."""
        said, known = self._rule.labels.get("failure", ""), self._whole.site.matrix.rows
        if said and "{{" not in said and said not in known:
            yield self._note("row-unknown", f"its label failure: {said} is no row", did_you_mean(said, known))

    def _why_down(self) -> str:
        jobs = sorted({job for one in self._seen for job in one.jobs if self._whole.world.down(job)})
        return "".join(f" (job {job} can't be scraped)" for job in jobs)

    def _plain(self) -> bool:
        """It reads metrics that are not known, by nothing but their job: no series that exists only in bad times."""
        read = list(selectors(self._rule.tree)) if self._rule.tree is not None else []
        return bool(read) and all(_unknown(self._whole, one) for one in read)

    def _defect(self, code: str, message: str, remedy: str = "") -> Finding:
        rule = self._rule
        return Finding(code, "defect", str(rule), message, remedy, rule.spot, self._whole.rows_of.get(id(rule), ()))

    def _note(self, code: str, message: str, remedy: str = "") -> Finding:
        rule = self._rule
        return Finding(code, "note", str(rule), message, remedy, rule.spot, self._whole.rows_of.get(id(rule), ()))


_COMPARE = "compare it with what is bad"


def _unknown(whole: Whole, selector: Selector) -> bool:
    named = all(one.label in ("job", "instance") for one in selector.matchers)
    known = whole.world.recorded(selector.name) is not None
    return named and not known and selector.name is not None and whole.world.find(selector).kind == "unknown"


def _sightings(whole: Whole, rule: Rule) -> list[Sighting]:
    """Each thing once, however often the expression names it."""
    found: dict[str, Sighting] = {}
    for selector in selectors(rule.tree) if rule.tree is not None else ():
        one = whole.world.find(selector)
        found.setdefault(one.why or str(selector), one)
    return list(found.values())


def _unread(whole: Whole) -> Iterator[Finding]:
    """Metrics that nothing is known of."""
    exports = whole.exports
    unread = {
        one.name: None
        for rule in whole.prometheus.rules
        for one in (selectors(rule.tree) if rule.tree is not None else ())
        if one.name and whole.world.recorded(one.name) is None and one.name not in exports.families
        and whole.world.find(one).kind == "unknown" and not one.name.startswith("ALERTS")
    }  # fmt: skip
    if unread and not exports.complete:
        jobs = sorted(job.name for job in exports.jobs.values() if job.name not in exports.read and not job.prefixes)
        fresh = [name for name in jobs if exports.jobs[name].fresh]
        remedy = f"say what targets{f' of {listed(jobs)}' if jobs else ''} export: --metrics JOB=FILE or JOB=URL"
        if fresh:
            remedy = f"job {listed(fresh)} has not been scraped yet: ask again"
        message = f"whether anybody exports {listed(unread)} is not known"
        yield Finding("metrics-unread", "note", "metrics", message, remedy)
