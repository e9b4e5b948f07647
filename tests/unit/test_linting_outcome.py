"""What expressions can yield: nothing untrue is said of any of them."""

from __future__ import annotations

import pytest

from veloz_chaos.core import promql
from veloz_chaos.core.interval import SECOND
from veloz_chaos.core.linting_exports import Exports
from veloz_chaos.core.linting_labels import Labels
from veloz_chaos.core.linting_outcome import Outcome
from veloz_chaos.core.linting_setup import Group, Job, Rule
from veloz_chaos.core.linting_world import World
from veloz_chaos.core.linting_yaml import NOWHERE


def series(**labels: str) -> Labels:
    return Labels({name: frozenset({value}) for name, value in {"job": "gateway", **labels}.items()})


def job(name: str, down: str = "", targets: int = 1) -> Job:
    labels = Labels({"job": frozenset({name}), "instance": frozenset({f"{name}:80"})})
    return Job(name, SECOND, SECOND, labels, NOWHERE, down, targets)


JOBS = {"gateway": job("gateway"), "broken": job("broken", "EOF"), "idle": job("idle", targets=0)}
FAMILIES = {
    "depth": (series(instance="a", code="200"), series(instance="b", code="404")),
    "done_total": (series(),),
    "wait_seconds_bucket": (series(le="1"), series(le="+Inf")),
}


def recording(name: str, text: str, **labels: str) -> Rule:
    return Rule(name, True, text, promql.parse(text), labels, 0, 0, Group("g", "", SECOND), 0, NOWHERE)


RECORDS = {
    "bad:up": [recording("bad:up", "up == 0")],
    "bad:nothing": [recording("bad:nothing", "rate(nowhere[1m])")],
    "twice": [recording("twice", "nowhere"), recording("twice", "sum(depth)", by="hand")],
    "itself": [recording("itself", "itself + 1")],
}
KNOWN = World(Exports(JOBS, FAMILIES, frozenset(JOBS), True), records=RECORDS)
LOST = World(KNOWN.exports, True, RECORDS)
UNKNOWN = World(Exports({"gateway": job("gateway")}))


def of(text: str, world: World = KNOWN) -> Outcome:
    return world.of(promql.parse(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nowhere > 1", "no target exports `nowhere`"),
        ("rate(nowhere[5m]) / rate(depth[5m]) > 1", "no target exports `nowhere`"),
        ('depth{cod="1"} > 1', "no series of `depth` has a label `cod`"),
        ('depth{instance="z"} > 1', 'no series of `depth` has instance="z"'),
        ('up{job="gatewy"} == 0', 'no scrape job fits job="gatewy"'),
        ('up{job="idle"} == 0', "job idle has no target"),
        ("count(depth) == 0", "at least 1"),
        ("count_over_time(depth[1m]) < 1", "at least 1"),
        ("absent(depth) == 0", "its left side is 1"),
        ("up > 1", "from 0 to 1"),
        ("rate(depth[5m]) < 0", "at least 0"),
        ("(depth > 10) < 5", "at least 10"),
        ("5 > (depth > 10)", "at least 10"),
        ("depth > NaN", "nan"),
        ("hour() >= 24", "from 0 to 23"),
        ("depth > 1 and on () (hour() > 23)", "from 0 to 23"),
        ("depth > 1 and hour() > 8", "never have the same job"),
        ('up{job="gateway"} == 1 and up{job="broken"} == 0', "never have the same job"),
        ("histogram_quantile(0.9, sum by (job) (rate(wait_seconds_bucket[5m]))) > 1", "`le`"),
        ("bad:nothing > 1", "is recorded from what yields nothing: no target exports `nowhere`"),
        ('twice{by="machine"} > 1', 'is recorded without by="machine"'),
        ('{__name__=~"nowhere.*"} > 1', "no target exports anything that fits"),
        ("nowhere or bad:nothing", "no target exports `nowhere`"),
        ("depth > scalar(nowhere)", "no target exports `nowhere`"),
        ("-up > 0", "from -1 to -0"),
        ("stddev(depth) < 0", "at least 0"),
        ("sum(rate(depth[1m])) * 2 + 1 < 1", "at least 1"),
    ],
)
def test_it_can_never_fire(text: str, why: str) -> None:
    outcome = of(text)
    assert why in outcome.nothing
    assert of(text, LOST).nothing


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vector(1)", "constant"),
        ("1", "constant"),
        ("1 == bool 2", "`bool` yields 0 or 1"),
        ("time() > bool 5", "`bool` yields 0 or 1"),
        ("depth", "compared with nothing"),
        ("sum(depth) by (code)", "compared with nothing"),
        ("depth == bool 3", "`bool` yields 0 or 1"),
        ("up >= 0", "`>=` always holds"),
        ("rate(done_total[5m]) >= 0", "`>=` always holds"),
        ("count(depth) > 0", "`>` always holds"),
        ("absent(nowhere)", "no target exports `nowhere`"),
        ('absent(depth{cod="1"})', "no series of `depth` has a label `cod`"),
        ("absent(nowhere) == 1", "`==` always holds"),
        ("depth unless nowhere", "compared with nothing"),
        ("depth > 5 or up", "`up` is compared with nothing"),
        ("depth != NaN", "always holds"),
        ("twice", "`depth` is compared with nothing"),
        ("time() - 5 > bool 3", "`bool` yields 0 or 1"),
    ],
)
def test_it_always_fires(text: str, why: str) -> None:
    outcome = of(text)
    assert why in outcome.always
    assert not outcome.nothing


@pytest.mark.parametrize(
    "text",
    [
        "up == 0", "up < 1", "depth > 1", 'depth{code="500"} > 1', 'depth{code=~"5.."} > 1', "absent(depth)",
        'absent(up{job="gateway"})', "depth > 1 or nowhere", "depth > 1 unless nowhere", "depth >= 0", "bad:up",
        "rate(depth[5m]) >= 0",
        "itself > 1", "depth > on (instance) up", "depth > ignoring (code) group_left depth offset 5m",
        "avg(rate(depth[5m])) > 0", "histogram_quantile(0.9, rate(wait_seconds_bucket[5m])) > 1",
        "histogram_quantile(0.9, sum by (le) (rate(wait_seconds_bucket[5m]))) > 1", "time() - depth > 60",
        "depth > 1 and on () hour() >= 8", 'ALERTS{alertname="x"} == 1', "(depth > 1) == bool 1", "bad:up == bool 0",
        "max_over_time((depth > 1)[5m:1m])", '{__name__=~"dep.*"} > 1', "depth % 2 == 3", "depth == depth",
        "quantile_over_time(0.5, depth[5m]) > 1", "absent_over_time(depth[5m])",
        "label_replace(depth, \"a\", \"$1\", \"code\", \"(.*)\") > 1", "topk(3, depth) > 1",
        "depth + on () nowhere > 1 or depth > 1",
        "rate(depth[5m]) > 0", "deriv(depth[5m]) < 0", "depth / depth >= 0", "min(up) == 0", "1 - up > 0", "up == 1",
    ],
)  # fmt: skip
def test_nothing_can_be_said(text: str) -> None:
    outcome = of(text)
    assert not outcome.nothing
    assert not outcome.always


def test_what_cannot_be_scraped_is_lost_for_good_or_for_now() -> None:
    assert "always holds" in of('up{job="broken"} == 0', LOST).always
    assert not of('up{job="broken"} == 0').always
    assert not of("up == 0", LOST).always  # another target can be scraped
    assert not of('up{job="broken"} == 1').nothing  # nor is it said that it can never be again


@pytest.mark.parametrize("text", ["nowhere > 1", 'depth{cod="1"} > 1', "absent(nowhere)", "nowhere == bool 1"])
def test_where_exports_are_not_known_nothing_is_said_of_them(text: str) -> None:
    assert not of(text, UNKNOWN).nothing
    assert not of(text, UNKNOWN).always


@pytest.mark.parametrize(
    ("text", "label", "values"),
    [
        ("depth > 1", "code", {"200", "404"}),
        ('depth{code="404"} > 1', "code", {"404"}),
        ('depth{code=~"4.*"} > 1', "code", {"404"}),
        ("sum by (code) (depth) > 1", "instance", {""}),
        ("sum without (code) (depth) > 1", "code", {""}),
        ("sum(depth) > 1", "job", {""}),
        ("topk by (job) (1, depth) > 1", "code", {"200", "404"}),
        ('absent(nowhere{team="a"})', "team", {"a"}),
        ("depth > on (instance) depth", "code", {""}),
        ("depth * on (job) group_left (le) wait_seconds_bucket > 1", "le", {"1", "+Inf"}),
        ('label_replace(depth, "team", "x", "", "")', "team", None),
        ('count_values("v", depth) > 1', "v", None),
        ("twice", "by", {"hand"}),
        ("vector(1)", "job", {""}),
    ],
)
def test_the_labels_that_an_alert_will_have(text: str, label: str, values: set[str] | None) -> None:
    assert of(text).labels.of(label) == values


@pytest.mark.parametrize("text", ["x{", "1 > 2", "rate(x)", "sum(x", "no_such_function(x)", 'x{a=~"("}', "", "{}"])
def test_what_is_no_promql(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        promql.parse(text)


def test_selectors_of_every_part() -> None:
    text = 'topk(scalar(a), b{x="1"}) > on () c offset 5m unless max_over_time(rate(d[1m])[5m:10s])'
    assert list(map(str, promql.selectors(promql.parse(text)))) == ["a", 'b{x="1"}', "c", "d"]


def test_what_has_no_sample_now() -> None:
    """Declared and never set, exported before, never heard of: they are not the same."""
    exports = Exports(JOBS, FAMILIES, frozenset(JOBS), True, frozenset({"renamed_total"}), frozenset({"errors_total"}))
    world = World(exports)
    declared, before, never = (world.find(promql.Selector(name, ())) for name in ("errors_total", "renamed_total", "x"))
    assert (declared.kind, declared.why) == ("silent", "`errors_total` is declared and has no sample")
    assert (before.kind, before.was) == ("absent", True)
    assert before.why.startswith("no target exports `renamed_total` any more")
    assert (never.kind, never.was) == ("absent", False)


def test_a_job_that_was_not_scraped_yet_may_export_anything() -> None:
    exports = Exports(JOBS, FAMILIES, frozenset(JOBS) - {"gateway"}, complete=False)
    assert World(exports).find(promql.Selector("nowhere", ())).kind == "unknown"
    of_another = promql.parse('nowhere{job="broken"}')
    assert isinstance(of_another, promql.Selector)
    assert World(exports).find(of_another).kind == "absent"
