"""What several runs of one experiment prove, in words and as JSON (lengths in seconds; null: it never came)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from veloz_chaos.core import binomial
from veloz_chaos.core.interval import SECOND, Nanoseconds
from veloz_chaos.core.length import length
from veloz_chaos.core.repeated import QUANTILES, WANTED, Claim, Repeated, Sample
from veloz_chaos.reports.table import table
from veloz_chaos.reports.verdict import wrapped

_UNIT = re.compile(r"(?<=\d) (?=%|\w+\b)")
_CONFIDENCE = f"{binomial.CONFIDENCE:.0%}".replace("%", " %")


def report(repeated: Repeated, width: int = 80) -> list[str]:
    lines = wrapped(_head(repeated), width)
    lines += [line for why in _left_out(repeated) for line in wrapped(f"  {why}", width)]
    samples = {"to detect": repeated.detection, "to recover": repeated.recovery}
    told = {name: sample for name, sample in samples.items() if sample.values}
    if told:
        lines += ["", *_distribution(told, width), "", *_bounds(told, width)]
    return [*lines, "", *(line for claim in _claims(repeated) for line in _together(claim, width))]


def _together(text: str, width: int) -> list[str]:
    """A number stays with its unit."""
    glued = _UNIT.sub("\u00a0", text)
    return [line.replace("\u00a0", " ") for line in wrapped(glued, width)]


def _head(repeated: Repeated) -> str:
    verdicts = Counter(run.verdict for run in repeated.runs)
    words = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "none"
    done, asked = len(repeated.runs), repeated.asked
    runs = f"{done} runs" if done == asked else f"{done} of {asked} runs"
    left_out = f"; {len(repeated.excluded)} of them prove nothing:" if repeated.excluded else ""
    return f"{repeated.experiment} on {repeated.environment}, {runs}: {words}{left_out}"


def _left_out(repeated: Repeated) -> Iterator[str]:
    for (verdict, reason), count in Counter((run.verdict, run.reason) for run in repeated.excluded).most_common():
        yield f"{count} {verdict}: {reason}"


def _distribution(samples: dict[str, Sample], width: int) -> list[str]:
    columns = ["time", "runs", "least", "median", "90 %", "most", "never", "limit"]
    rows = [
        [name, str(len(s.values)), *(_length(s.estimate(q)) for q in (0, 0.5, 0.9, 1)), str(s.never), _limit(s)]
        for name, s in samples.items()
    ]
    return table(columns, rows, width)


def _bounds(samples: dict[str, Sample], width: int) -> list[str]:
    columns = [f"at most, with {_CONFIDENCE} confidence", *(_percent(q) for q in QUANTILES)]
    rows = [[name, *(_bound(sample, q) for q in QUANTILES)] for name, sample in samples.items()]
    return table(columns, rows, width)


def _bound(sample: Sample, q: float) -> str:
    value = sample.at_most(q)
    return f"needs {binomial.needed(q)}" if value is None else _length(value)


def _length(value: Nanoseconds | None) -> str:
    return "—" if value is None else "never" if math.isinf(value) else length(value)


def _limit(sample: Sample) -> str:
    return "—" if sample.limit is None else length(sample.limit)


# --- what it proves ------------------------------------------------------------------------------------------------


def _claims(repeated: Repeated) -> Iterator[str]:
    if not repeated.whole.runs:
        yield "nothing is proven: no run came to a verdict"
        return
    for sample, verb, never in (
        (repeated.detection, "are noticed", "was noticed"),
        (repeated.recovery, "recover", "recovered"),
    ):
        if sample.values:
            within = "" if sample.limit is None else f" within {length(sample.limit)}"
            yield proof(sample.claim, verb + within, never + within)
    yield proof(repeated.whole, "meet every expectation", "met every expectation")


def proof(claim: Claim, do: str, did: str) -> str:
    """`at least 95 % of the runs recover within 10 s, with 95 % confidence (59 of 59 did)`"""
    succeeded = claim.runs - claim.failures
    if not succeeded:
        return f"none of {_runs(claim.runs)} {did}: nothing is proven of how many do"
    said = (
        f"at least {_percent(claim.share)} of the runs {do}, with {_CONFIDENCE} confidence "
        f"({succeeded} of {claim.runs} did)"
    )
    return said if claim.share >= WANTED else f"{said}; {_missing(claim)}"


def _missing(claim: Claim) -> str:
    little = "that proves little: " if claim.share < WANTED / 2 else ""
    condition = "if no more fail" if claim.failures else "none of which fails"
    return f"{little}at least {_percent(WANTED)} needs {claim.needed} runs, {condition}"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _percent(share: float) -> str:
    """`95 %`, `36.8 %`; never rounded up."""
    tenths = math.floor(share * 1000 + 1e-9)
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10:.1f} %"


# --- JSON ----------------------------------------------------------------------------------------------------------


def as_json(repeated: Repeated) -> dict[str, Any]:
    excluded = [
        {"run": run.judgement and run.judgement.run, "verdict": run.verdict, "reason": run.reason}
        for run in repeated.excluded
    ]
    return {
        "experiment": repeated.experiment,
        "environment": repeated.environment,
        "asked": repeated.asked,
        "runs": len(repeated.runs),
        "excluded": excluded,
        "detection": _sample_json(repeated.detection),
        "recovery": _sample_json(repeated.recovery),
        "passed": _claim_json(repeated.whole),
    }


def _sample_json(sample: Sample) -> dict[str, Any] | None:
    if not sample.values:
        return None
    quantiles = [
        {
            "share": q,
            "estimate_seconds": _seconds(sample.estimate(q)),
            "at_most_seconds": _seconds(sample.at_most(q)),
            "needs": binomial.needed(q),
        }
        for q in QUANTILES
    ]
    return {
        "seconds": [_seconds(value) for value in sample.values],
        "never": sample.never,
        "limit_seconds": _seconds(sample.limit),
        "quantiles": quantiles,
        **_claim_json(sample.claim),
    }


def _claim_json(claim: Claim) -> dict[str, Any]:
    return {
        "counted": claim.runs,
        "failures": claim.failures,
        "at_least_share": math.floor(claim.share * 1e6) / 1e6,
        "confidence": binomial.CONFIDENCE,
        "needed_for": {"share": WANTED, "runs": claim.needed},
    }


def _seconds(value: Nanoseconds | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value / SECOND, 6)
