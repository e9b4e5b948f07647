"""Which runs count for what, and how it is told."""

from __future__ import annotations

import json
import math

import pytest

from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import SECOND, Interval
from veloz_chaos.core.judge import Judgement
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.repeated import Claim, Once, Repeated, repeated
from veloz_chaos.core.window import Verdict
from veloz_chaos.reports.repeated import as_json, proof, report

NOTHING = Measurement(in_place=True, began=None, ended=None, early="")
LIMITS = {"detection": 5, "recovery": 10}


def finding(name: str, verdict: Verdict, least: float | None, most: float | None = None) -> Finding:
    measured = None if least is None else Interval(least * SECOND, (least if most is None else most) * SECOND)
    return Finding(name, verdict, "", measured, LIMITS[name] * SECOND)


def once(verdict: str, *findings: Finding) -> Once:
    return Once(verdict, f"why {verdict}", Judgement("0badcafe", verdict, 0, findings, (), NOTHING))


def passed(detect: float = 0.1, recover: float = 1.0) -> Once:
    return once("passed", finding("detection", "passed", detect), finding("recovery", "passed", recover))


def of(*runs: Once, asked: int = 0) -> Repeated:
    return repeated("engine-crash", "sandbox", asked or len(runs), runs)


def seconds(*runs: Once) -> list[float]:
    return [value / SECOND for value in of(*runs).recovery.values]


def test_the_most_it_may_have_been_counts() -> None:
    run = once("passed", finding("recovery", "passed", 1.0, 1.5))
    assert seconds(run, passed(recover=0.5)) == [0.5, 1.5]


@pytest.mark.parametrize(
    ("run", "values"),
    [
        # never recovered, and recovered too late
        (once("failed", finding("recovery", "failed", 20, math.inf)), [math.inf]),
        (once("failed", finding("recovery", "failed", 11, 12)), [12]),
        # failed for another reason: this time counts as it is
        (once("failed", finding("recovery", "passed", 2)), [2]),
        # failed though within the limit (a detection that flapped), or without a time
        (once("failed", finding("recovery", "failed", 2)), [math.inf]),
        (once("failed", finding("recovery", "failed", None)), [math.inf]),
        # the service is still down
        (once("left-behind", finding("recovery", "failed", 20, math.inf)), [math.inf]),
        # astride the limit: not surely within it
        (once("inconclusive", finding("recovery", "inconclusive", 9.9, 10.1)), [10.1]),
        (once("failed", finding("recovery", "inconclusive", 9, math.inf)), [math.inf]),
        # what proves nothing
        (once("failed", finding("recovery", "inconclusive", 2)), []),
        (once("failed", finding("recovery", "inconclusive", None)), []),
        (once("inconclusive", finding("recovery", "passed", 2)), []),
        (once("inconclusive", finding("recovery", "inconclusive", 2)), []),
        (once("inconclusive", finding("recovery", "inconclusive", 2, math.inf)), []),
        (once("aborted", finding("recovery", "passed", 2)), []),
        (once("refused"), []),
        (Once("not run", "a file is wrong"), []),
        # nothing broke, as expected
        (once("passed", finding("recovery", "passed", None)), []),
    ],
)
def test_what_a_run_says(run: Once, values: list[float]) -> None:
    assert seconds(run) == values


def test_failures_are_what_is_not_within_the_limit() -> None:
    runs = [passed() for _ in range(9)] + [once("failed", finding("recovery", "failed", 11, 12))]
    assert of(*runs).recovery.claim == Claim(10, 1)
    assert of(*runs).whole == Claim(10, 1)


def test_without_a_limit_only_never_fails() -> None:
    def run(verdict: Verdict, most: float) -> Once:
        return once(verdict, Finding("recovery", verdict, "", Interval(1, most), None))

    assert of(run("passed", 10**15), run("failed", math.inf)).recovery.claim == Claim(2, 1)


def test_quantiles_of_few_and_of_many() -> None:
    few, many = of(passed(recover=3), passed(recover=1)), of(*(passed(recover=n / 10) for n in range(1, 61)))
    assert (few.recovery.estimate(0.5), few.recovery.estimate(1)) == (1 * SECOND, 3 * SECOND)
    assert few.recovery.at_most(0.5) is None
    assert (many.recovery.estimate(0.5), many.recovery.at_most(0.95)) == (3 * SECOND, 6 * SECOND)


def test_one_that_never_recovered_cannot_be_left_out_of_a_bound() -> None:
    runs = [passed() for _ in range(58)] + [once("failed", finding("recovery", "failed", 20, math.inf))]
    assert of(*runs).recovery.at_most(0.95) == math.inf
    assert of(*runs).recovery.at_most(0.5) == 1 * SECOND


# How it is told


def told(repeated: Repeated) -> str:
    lines = report(repeated)
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


def test_fifty_nine_passes_are_told_as_the_matrix_wants_it() -> None:
    text = " ".join(told(of(*(passed() for _ in range(59)))).split())
    assert "engine-crash on sandbox, 59 runs: 59 passed" in text
    assert "at least 95 % of the runs recover within 10 s, with 95 % confidence (59 of 59 did)" in text
    assert "needs 59" not in text
    assert "needs 299" in text


def test_few_runs_are_told_to_prove_little() -> None:
    text = " ".join(told(of(passed(), passed(), passed())).split())
    assert (
        "at least 36.8 % of the runs recover within 10 s, with 95 % confidence (3 of 3 did); that proves little: "
        "at least 95 % needs 59 runs, none of which fails"
    ) in text
    assert "at least 36.8 % of the runs meet every expectation" in text


def test_a_failure_costs_runs() -> None:
    runs = [passed() for _ in range(58)] + [once("failed", finding("recovery", "failed", 20, math.inf))]
    text = " ".join(told(of(*runs)).split())
    assert "(58 of 59 did); at least 95 % needs 93 runs, if no more fail" in text
    assert "58 passed, 1 failed" in text
    assert "never" in text


def test_what_proves_nothing_is_listed_once_with_its_count() -> None:
    refused = Once("refused", "gateway-healthy does not hold")
    text = told(of(passed(), refused, refused, once("inconclusive"), asked=9))
    assert "4 of 9 runs" in text
    assert "3 of them prove nothing:" in " ".join(text.split())
    assert "  2 refused: gateway-healthy does not hold\n" in text
    assert "  1 inconclusive: why inconclusive\n" in text


def test_nothing_but_excluded_runs() -> None:
    assert told(of(Once("refused", "no"))).endswith("nothing is proven: no run came to a verdict")
    assert "0 of 3 runs: none" in told(of(asked=3))


def test_none_did() -> None:
    assert proof(Claim(2, 2), "recover", "recovered") == "none of 2 runs recovered: nothing is proven of how many do"


def test_a_share_is_never_rounded_up() -> None:
    assert "at least 94.9 %" in proof(Claim(58, 0), "recover", "recovered")


def test_as_json() -> None:
    runs = [passed(recover=1), passed(recover=2), once("failed", finding("recovery", "failed", 20, math.inf))]
    data = json.loads(json.dumps(as_json(of(*runs, Once("refused", "no"))), allow_nan=False))
    assert data["recovery"]["seconds"] == [1, 2, None]
    assert (data["recovery"]["never"], data["recovery"]["limit_seconds"]) == (1, 10)
    assert (data["recovery"]["counted"], data["recovery"]["failures"]) == (3, 1)
    assert data["recovery"]["needed_for"] == {"share": 0.95, "runs": 93}
    assert data["recovery"]["quantiles"][0] == {
        "share": 0.5, "estimate_seconds": 2, "at_most_seconds": None, "needs": 5,
    }  # fmt: skip
    assert data["excluded"] == [{"run": None, "verdict": "refused", "reason": "no"}]
    assert 0.13 < data["recovery"]["at_least_share"] < 0.136
    assert as_json(of())["recovery"] is None
