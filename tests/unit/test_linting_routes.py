"""Where alerts go, as Alertmanager walks its tree (`amtool config routes test` says the same), and who mutes whom."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.require import absent
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_alertmanager import alertmanager
from veloz_chaos.core.linting_labels import ANY, Fit, Labels, Matcher, matchers
from veloz_chaos.core.linting_routes import Muters, arrivals, untaken
from veloz_chaos.core.linting_setup import Alertmanager
from veloz_chaos.core.linting_yaml import read

TREE = """
route:
  receiver: default
  routes:
    - {matchers: [severity="critical"], receiver: pager}
    - matchers: ['team=~"a|b"']
      receiver: ab
      continue: true
      routes:
        - {matchers: [team="a"], receiver: a}
    - {matchers: [severity="warning"], receiver: slack}
    - {match: {team: c}, match_re: {severity: warn.*}, receiver: late}
    - {match: {team: d}, receiver: d}
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity=~"warning|info"], equal: [team]}
  - {source_match: {alertname: Down}, target_match_re: {alertname: ".*"}}
receivers: [{name: default}, {name: pager}, {name: ab}, {name: a}, {name: slack}, {name: late}, {name: d}]
"""


def tree(text: str = TREE) -> Alertmanager:
    return alertmanager(read(text, "am.yml")[0])


def alert(**labels: str) -> Labels:
    return Labels({name: frozenset(value.split("|")) if value != "?" else None for name, value in labels.items()})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (alert(severity="critical", team="a"), {"pager": True}),
        (alert(severity="warning", team="a"), {"a": True, "slack": True}),
        (alert(severity="warning", team="b"), {"ab": True, "slack": True}),
        (alert(severity="info", team="b"), {"ab": True}),
        (alert(severity="info"), {"default": True}),
        (alert(), {"default": True}),
        (alert(severity="warning", team="c"), {"slack": True}),
        (alert(severity="critical|warning"), {"pager": False, "slack": False, "default": False}),
        (alert(severity="warning", team="?"), {"a": False, "ab": False, "slack": True}),
        (
            alert(severity="?", team="d"),
            {"pager": False, "slack": False, "d": False},
        ),
    ],
)
def test_who_gets_an_alert(labels: Labels, expected: dict[str, bool]) -> None:
    found = {one.route.receiver: one.sure for one in arrivals(tree().route, labels)}
    assert found == expected


def test_a_route_that_gets_nothing_is_behind_another_or_fits_nothing() -> None:
    alerts = [alert(severity="warning", team="c"), alert(severity="critical", team="a"), alert(severity="info")]
    found = {one.route.receiver: [other.receiver for other in one.behind] for one in untaken(tree().route, alerts)}
    assert found == {"ab": ["pager"], "late": ["slack"], "d": []}


def test_a_route_below_one_that_gets_nothing_is_not_told_again() -> None:
    alerts = [alert(severity="info")]
    assert "a" not in {one.route.receiver for one in untaken(tree().route, alerts)}


def test_what_is_not_known_reaches_everything() -> None:
    assert not list(untaken(tree().route, [ANY]))


def test_what_is_not_said_is_inherited() -> None:
    text = """
    route: {receiver: r, group_by: [a], group_wait: 3s, routes: [{group_wait: 5s, routes: [{group_by: [...]}]}]}
    receivers: [{name: r, slack_configs: [{}, {}], webhook_configs: [{}]}]
    """
    made = tree(text)
    (child,) = made.route.routes
    (grandchild,) = child.routes
    assert (child.receiver, child.wait / SECOND, child.interval / SECOND) == ("r", 5, 300)
    assert child.group_by == frozenset({"a"})
    assert (grandchild.group_by, grandchild.wait / SECOND) == (None, 5)
    assert made.receivers["r"].integrations == ("slack", "slack", "webhook")


@pytest.mark.parametrize(
    ("name", "labels", "by"),
    [
        ("Slow", alert(severity="warning", team="a"), {("Crash", True), ("Down", True)}),
        ("Slow", alert(severity="warning", team="?"), {("Crash", False), ("Down", True)}),
        ("Slow", alert(severity="warning", team="b"), {("Down", True)}),
        ("Slow", alert(severity="warning"), {("Down", True)}),
        ("Other", alert(severity="high"), {("Down", True)}),
        ("Down", alert(severity="warning", team="a"), {("Crash", True)}),
    ],
)
def test_who_mutes_whom(name: str, labels: Labels, by: set[tuple[str, bool]]) -> None:
    alerts = {"Crash": [alert(severity="critical", team="a", alertname="Crash")], "Down": [alert(alertname="Down")]}
    muters = Muters(tree().inhibitions, alerts)
    labels = labels.with_({"alertname": frozenset({name})})
    assert {(one.by, one.sure) for one in muters.of(name, labels)} == by


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('a="b"', [Matcher("a", "=", "b")]),
        ("a = b", [Matcher("a", "=", "b")]),
        ('{a=~"b|c", d!="e,f"}', [Matcher("a", "=~", "b|c"), Matcher("d", "!=", "e,f")]),
        ('"a b"!~"c\\"d\\n"', [Matcher("a b", "!~", 'c"d\n')]),
        ("a=", [Matcher("a", "=", "")]),
        ("{}", []),
    ],
)
def test_matchers_as_alertmanager_writes_them(text: str, found: list[Matcher]) -> None:
    assert matchers(text) == found
    assert [two for one in found for two in matchers(str(one))] == found


@pytest.mark.parametrize("text", ["a", 'a="b', "a=~(", "=b", 'a="b" c="d"'])
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ValueError, match=r"no (matcher|regular expression)"):
        matchers(text)


@pytest.mark.parametrize(
    ("matcher", "values", "fit"),
    [
        (Matcher("a", "=", "x"), {"x"}, Fit.YES),
        (Matcher("a", "=", "x"), {"x", "y"}, Fit.MAYBE),
        (Matcher("a", "=", "x"), {"y"}, Fit.NO),
        (Matcher("a", "!=", "x"), {""}, Fit.YES),
        (Matcher("a", "=~", "x|y"), {"xy"}, Fit.NO),
        (Matcher("a", "=~", "(?i)X"), {"x"}, Fit.YES),
        (Matcher("a", "=~", "[[:alpha:]]+"), {"x"}, Fit.MAYBE),
        (Matcher("a", "=~", ".*"), None, Fit.YES),
        (Matcher("a", "=~", ".+"), None, Fit.MAYBE),
    ],
)
def test_how_a_matcher_fits(matcher: Matcher, values: set[str] | None, fit: Fit) -> None:
    assert matcher.fits(None if values is None else frozenset(values)) is fit


def test_amtool_routes_alike(tmp_path: Path) -> None:
    """Trees at random, every alert of a few labels: the receivers that the real one names."""
    program = shutil.which("amtool") or absent("prometheus", "no amtool; apt-get install prometheus-alertmanager")
    random_ = random.Random(7)
    for number in range(6):
        path = tmp_path / f"{number}.yml"
        path.write_text(_some_tree(random_))
        made = alertmanager(read(path.read_text(), str(path))[0])
        for severity, team in itertools.product(("critical", "warning", ""), ("a", "b", "")):
            labels = {name: value for name, value in (("severity", severity), ("team", team)) if value}
            said = [f"{name}={value}" for name, value in labels.items()]
            command = [program, "config", "routes", "test", f"--config.file={path}", *said]
            real = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            ours = arrivals(made.route, alert(**labels))
            assert [one.route.receiver for one in ours] == real.split(","), (path.read_text(), labels)
            assert all(one.sure for one in ours)


def _some_tree(random_: random.Random) -> str:
    names: list[str] = []

    def routes(depth: int) -> str:
        return "[" + ", ".join(route(depth) for _ in range(random_.randint(1, 3))) + "]" if depth else "[]"

    def route(depth: int) -> str:
        names.append(f"r{len(names)}")
        own = names[-1]
        wanted = random_.choice(['severity="critical"', 'team=~"a|b"', 'team!="a"', 'severity=~"w.*"', "team=b"])
        onward = random_.choice(["true", "false"])
        return f"{{receiver: {own}, matchers: ['{wanted}'], continue: {onward}, routes: {routes(depth - 1)}}}"

    below = routes(3)
    named = "".join(f", {{name: {name}}}" for name in names)
    return f"route: {{receiver: root, routes: {below}}}\nreceivers: [{{name: root}}{named}]\n"
