"""Row by row of the response matrix: is there an alert, is it severe enough, who hears of it, and how soon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from veloz_chaos.core import linting_times as timing
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.interval import Interval, Nanoseconds
from veloz_chaos.core.length import length
from veloz_chaos.core.linting_routes import Arrival, Muting
from veloz_chaos.core.linting_setup import Finding, Level, Route, Rule
from veloz_chaos.core.linting_times import Times
from veloz_chaos.core.linting_whole import Whole, listed
from veloz_chaos.core.linting_yaml import Spot
from veloz_chaos.core.matrix import Alert
from veloz_chaos.core.nearest import did_you_mean

Verdict = Literal["in time", "late at times", "impossible", "never", ""]


@dataclass(frozen=True)
class RuleReport:
    """One rule of a row: how soon it fires and is notified, and where it goes."""

    name: str
    severity: str
    #: None: it can never fire
    times: Times | None
    #: channels of the document that it surely reaches
    channels: tuple[str, ...]
    receivers: tuple[str, ...]


@dataclass(frozen=True)
class RowReport:
    row: str
    title: str
    alert: Alert
    #: the site's word for the severity
    severity: str
    rules: tuple[RuleReport, ...]
    #: nanoseconds; None: the document gives no limit
    detection_limit: Nanoseconds | None
    within: Nanoseconds | None
    #: of the rule that is surely the first; None where none can fire
    fires: Interval | None
    notified: Interval | None

    @property
    def detection(self) -> Verdict:
        return _judged(self.fires, self.detection_limit)

    @property
    def notice(self) -> Verdict:
        return _judged(self.notified, self.within)


def _judged(time: Interval | None, limit: Nanoseconds | None) -> Verdict:
    if limit is None:
        return ""
    if time is None:
        return "never"
    return "impossible" if time.at_least > limit else "late at times" if time.at_most > limit else "in time"


def rows(whole: Whole) -> Iterator[tuple[RowReport, list[Finding]]]:
    """Of the rows for which the document names an alert."""
    for name, row in whole.site.matrix.rows.items():
        if row.alert is not None:
            limit = whole.site.matrix.limits(name).detection
            yield _Row(whole, name, row.title, row.alert, None if limit is None else nanoseconds(limit)).report()


class _Row:
    def __init__(self, whole: Whole, row: str, title: str, alert: Alert, limit: int | None) -> None:
        self._whole, self._row, self._title, self._alert, self._limit = whole, row, title, alert, limit
        self._within = None if alert.within is None else nanoseconds(alert.within)
        self._wanted = whole.site.severity(alert.severity)
        self._rules = whole.by_row[row]
        self._found: list[Finding] = []

    def report(self) -> tuple[RowReport, list[Finding]]:
        if not self._rules:
            self._no_rule()
        known = {rule.name: None for rule in self._whole.alerts}
        for name in self._whole.site.rules.get(self._row, ()):
            if name not in known:
                message = f"there is no rule {name}, which the environment names for it"
                self._defect("row-no-rule", message, did_you_mean(name, known))
        fitting = self._severities()
        reports = [self._rule(rule, rule in fitting) for rule in self._rules]
        counted = fitting or self._rules
        judged = [one for one, rule in zip(reports, self._rules, strict=True) if rule in counted and one.times]
        fires = _first([one.times.fires for one in judged if one.times])
        notified = _first([one.times.notified for one in judged if one.times and one.times.notified])
        made = RowReport(self._row, self._title, self._alert, self._wanted, tuple(reports),
                         self._limit, self._within, fires, notified)  # fmt: skip
        self._judge(made, [rule for rule in counted if not self._whole.outcomes[id(rule)].nothing])
        return made, self._found

    def _no_rule(self) -> None:
        if self._row not in self._whole.site.rules:
            message = f"no rule raises the document's alert {self._alert.as_}"
            remedy = f"label one failure: {self._row}, or name it: alerts: {{rules: {{{self._row}: [NAME]}}}}"
            self._defect("row-no-rule", message, remedy)

    def _severities(self) -> list[Rule]:
        """The rules whose severity is, or may be, the wanted one."""
        said = [(rule, self._whole.labels[id(rule)].of("severity")) for rule in self._rules]
        fitting = [rule for rule, values in said if values is None or self._wanted in values]
        wrong = [(rule, values) for rule, values in said if rule not in fitting]
        for rule, values in wrong:
            has = " or ".join(sorted(values or ())) or "none"
            message = f"{rule} has severity {has}, the document says {self._alert.severity}"
            message += f" ({self._wanted} here)" if self._wanted != self._alert.severity else ""
            remedy = f"label it severity: {self._wanted}, or say what the site calls it: alerts: severities:"
            if fitting:
                self._note("row-more-severities", f"{message}, as {listed(one.name for one in fitting)}", rule=rule)
            else:
                self._defect("row-wrong-severity", message, remedy, rule=rule)
        return fitting

    def _rule(self, rule: Rule, fitting: bool) -> RuleReport:
        whole = self._whole
        arrivals = whole.arrivals(rule)
        reached = self._reached(arrivals)
        severity = " or ".join(sorted(whole.labels[id(rule)].of("severity") or ())) or "any"
        receivers = tuple(dict.fromkeys(one.route.receiver for one in arrivals))
        times = None
        if not whole.outcomes[id(rule)].nothing:
            times = timing.of(rule, whole.world, None if whole.alertmanager is None else self._routes(arrivals))
        if fitting and whole.alertmanager is not None:
            self._channels(rule, arrivals, reached)
            self._resolved(rule, times)
            times = times and self._muted(rule, arrivals, times)
        sure = tuple(channel for channel, sure in reached.items() if sure)
        return RuleReport(rule.name, severity, times, sure, receivers)

    def _resolved(self, rule: Rule, times: Times | None) -> None:
        """Whoever waits for its end waits no longer than this."""
        most = self._whole.site.matrix.give_up
        if times and times.resolved.at_least > nanoseconds(most):
            least = length(times.resolved.at_least)
            message = f"{rule} fires for at least {least} after its end, a run waits {length(most)} for it"
            self._defect("resolves-late", message, "shorten keep_firing_for", rule=rule)

    def _reached(self, arrivals: Sequence[Arrival]) -> dict[str, bool]:
        """The wanted channels that it reaches, surely or perhaps."""
        found: dict[str, bool] = {}
        for channel in self._alert.channels:
            ways = [one for one in arrivals if self._delivers(channel, one.route)]
            if ways:
                found[channel] = any(one.sure for one in ways)
        return found

    def _delivers(self, channel: str, route: Route) -> bool:
        return self._whole.delivers(channel, self._whole.receiver(route.receiver))

    def _routes(self, arrivals: Sequence[Arrival]) -> list[Route]:
        """For each wanted channel that it reaches the route that tells it first."""
        chosen: list[Route] = []
        for channel in self._alert.channels:
            ways = [one.route for one in arrivals if self._delivers(channel, one.route)]
            chosen += sorted(ways, key=lambda route: route.wait)[:1]
        return chosen

    def _channels(self, rule: Rule, arrivals: Sequence[Arrival], reached: dict[str, bool]) -> None:
        goes = listed(map(str, (one.route for one in arrivals)))
        for channel in self._alert.channels:
            if channel not in reached:
                remedy = f"route it to a receiver with {channel}_configs, or say which is meant: alerts: channels:"
                self._defect(
                    "channel-missing", f"{rule} does not reach {channel}: it goes to {goes}", remedy, rule=rule
                )
            elif not reached[channel]:
                self._note("channel-unsure", f"{rule} reaches {channel} only with the right labels", rule=rule)
        extra = {f"{kind} ({name})": None for name, kind in self._extra(arrivals)}
        if extra:
            said = ", ".join(self._alert.channels)
            message = f"{rule} also reaches {listed(extra)}, the document says {said} alone"
            remedy = "route it to what the document says, or say what is meant: alerts: channels:"
            self._defect("channel-extra", message, remedy, rule=rule)

    def _extra(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[str, str]]:
        for one in arrivals:
            receiver = self._whole.receiver(one.route.receiver)
            for kind in receiver.integrations if one.sure else ():
                if not any(self._whole.means(channel, receiver.name, kind) for channel in self._alert.channels):
                    yield receiver.name, kind

    def _muted(self, rule: Rule, arrivals: Sequence[Arrival], times: Times) -> Times:
        """An inhibition that surely swallows it leaves nothing to be notified."""
        by: dict[int, list[Muting]] = {}
        for one in self._whole.muters.of(rule.name, self._whole.labels[id(rule)]):
            by.setdefault(id(one.inhibition), []).append(one)
        lost = False
        for mutings in by.values():
            surely = [one.by for one in mutings if one.sure and self._together(one.by)]
            lost = lost or bool(surely)
            self._inhibited(rule, mutings, surely)
        named = dict.fromkeys(name for one in arrivals for name in (*one.route.mute, *one.route.active))
        if named:
            message = f"{rule} is muted at times: its route has the time intervals {listed(named)}"
            self._note("muted-at-times", message, rule=rule)
        return timing.never(times) if lost else times

    def _together(self, name: str) -> bool:
        """Does the other fire whenever this failure is there?"""
        return name in self._whole.restless or any(rule.name == name for rule in self._rules)

    def _inhibited(self, rule: Rule, mutings: list[Muting], surely: list[str]) -> None:
        spot = mutings[0].inhibition.spot
        if surely:
            why = "fires always" if surely[0] in self._whole.restless else "is raised by the same failure"
            message = f"{rule} is swallowed: an inhibition mutes it while {listed(surely)} fires, which {why}"
            remedy = "narrow the inhibition's matchers, or its `equal`"
            self._found.append(Finding("inhibited", "defect", f"row {self._row}", message, remedy, spot, (self._row,)))
        else:
            others = listed(one.by for one in mutings)
            while_ = f"one of {others} fires" if ", " in others else f"{others} fires"
            message = f"{rule} is muted by an inhibition while {while_}"
            self._found.append(
                Finding("inhibited-at-times", "note", f"row {self._row}", message, "", spot, (self._row,))
            )

    def _judge(self, made: RowReport, able: list[Rule]) -> None:
        """Against the row's limits; what can never fire has been told already."""
        if made.fires is not None and made.detection_limit is not None:
            self._late("detection", made.detection, made.fires, made.detection_limit, able, "note")
        if made.notified is not None and made.within is not None and made.notified.at_least != float("inf"):
            self._late("notice", made.notice, made.notified, made.within, able, "defect")

    def _late(
        self, what: str, verdict: Verdict, time: Interval, limit: Nanoseconds, able: list[Rule], at_times: str
    ) -> None:
        doing = {"detection": "to fire", "notice": "until it is notified"}[what]
        names = listed(rule.name for rule in able)
        of = f"{'rule' if len(able) == 1 else 'rules'} {names}"
        takes = "needs" if len(able) == 1 else "need"
        spot = able[0]
        if verdict == "impossible":
            message = f"impossible: {length(limit)}, but {of} {takes} at least {length(time.at_least)} {doing}"
            self._defect(
                f"{what}-impossible", message + self._parts(what, able), "shorten what it waits for", rule=spot
            )
        elif verdict == "late at times":
            message = f"late at times: {length(limit)}, but {of} {takes} up to {length(time.at_most)} {doing}"
            make = self._defect if at_times == "defect" else self._note
            make(
                f"{what}-late",
                message + self._parts(what, able),
                "scrape and evaluate more often, wait less",
                rule=spot,
            )

    def _parts(self, what: str, able: list[Rule]) -> str:
        """What the time is made of, where it is one rule's."""
        if len(able) != 1:
            return ""
        rule = able[0]
        said = [f"evaluated every {length(rule.group.interval)}"]
        if rule.hold:
            said.append(f"for {length(rule.hold)}")
        if what == "notice":
            waits = dict.fromkeys(route.wait for route in self._routes(self._whole.arrivals(rule)))
            said += [f"group_wait {length(wait)}" for wait in waits]
        return f" ({', '.join(said)})"

    def _defect(self, code: str, message: str, remedy: str = "", rule: Rule | None = None) -> None:
        self._found.append(self._made(code, "defect", message, remedy, rule))

    def _note(self, code: str, message: str, remedy: str = "", rule: Rule | None = None) -> None:
        self._found.append(self._made(code, "note", message, remedy, rule))

    def _made(self, code: str, level: Level, message: str, remedy: str, rule: Rule | None) -> Finding:
        return Finding(code, level, f"row {self._row}", message, remedy, rule.spot if rule else Spot(), (self._row,))


def _first(times: list[Interval]) -> Interval | None:
    """Of the one that comes first."""
    if not times:
        return None
    return Interval(min(one.at_least for one in times), min(one.at_most for one in times))
