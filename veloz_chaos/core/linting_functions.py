"""What the functions of PromQL make of what they are given; operators are in `linting_outcome`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from veloz_chaos.core.linting_labels import ANY, MISSING, Labels
from veloz_chaos.core.linting_outcome import INF, Outcome, constant
from veloz_chaos.core.promql import Call, Number, Selector, Text, Tree, selectors

_ANY = (-INF, INF)
_POSITIVE = (0.0, INF)
#: What these yield whatever they are given.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("rate", "increase", "irate", "resets", "changes", "abs", "sqrt", "exp", "timestamp",
                     "stddev_over_time", "stdvar_over_time", "mad_over_time", "histogram_count"), _POSITIVE),
    "count_over_time": (1.0, INF), "present_over_time": (1.0, 1.0), "sgn": (-1.0, 1.0),
    "minute": (0.0, 59.0), "hour": (0.0, 23.0), "day_of_week": (0.0, 6.0), "day_of_month": (1.0, 31.0),
    "day_of_year": (1.0, 366.0), "days_in_month": (28.0, 31.0), "month": (1.0, 12.0), "year": (1970.0, INF),
    "histogram_fraction": (0.0, 1.0), "time": _POSITIVE,
}  # fmt: skip
#: These yield a number even where they are given none.
_NUMBERS = frozenset({"resets", "changes", "count_over_time", "present_over_time"})
_OF_COUNTERS = frozenset({"rate", "increase", "irate"})
#: Values among those of their argument.
_AMONG_CALLS = frozenset(
    {"avg_over_time", "min_over_time", "max_over_time", "last_over_time", "first_over_time", "sort", "sort_desc",
     "sort_by_label", "sort_by_label_desc", "label_replace", "label_join", "scalar", "vector"}
)  # fmt: skip


def called(tree: Call, args: list[Outcome]) -> Outcome:
    if tree.name in ("absent", "absent_over_time"):
        return _absence(tree, args[0])
    if not args:
        return _bounded(tree, constant(0, "it always has a value"))
    main = _main(tree, args)
    found = _bounded(tree, main)
    match tree.name:
        case "scalar":
            return replace(found, bare="", nan=True, labels=Labels())
        case "vector":
            # of a scalar that has no value it is NaN, which is a sample too
            return replace(found, nothing="", bare=found.bare or "it always has a value", present=True, labels=Labels())
        case "label_replace" | "label_join" if isinstance(tree.args[1], Text):
            return replace(found, labels=found.labels.with_({tree.args[1].value: None}))
        case "histogram_quantile":
            return _quantile(tree, found)
        case "info":
            return replace(found, labels=ANY)
    return found


def _main(tree: Call, args: list[Outcome]) -> Outcome:
    """The argument whose samples it is about: the first that is no number and no text."""
    vectors = [one for part, one in zip(tree.args, args, strict=True) if not isinstance(part, Text | Number)]
    return vectors[0] if vectors else args[0]


def _bounded(tree: Call, of: Outcome) -> Outcome:
    if tree.name in _AMONG_CALLS:
        return of
    low, high = _RANGES.get(tree.name, _ANY)
    number = tree.name in _NUMBERS or (tree.name in _OF_COUNTERS and _counts(tree.args[0]))
    return replace(of, low=low, high=high, nan=not number and (tree.name not in _RANGES or of.nan))


def _counts(tree: Tree) -> bool:
    """A counter, by its name, is never anything but a number."""
    return isinstance(tree, Selector) and (tree.name or "").endswith(("_total", "_count", "_bucket"))


def _absence(tree: Call, of: Outcome) -> Outcome:
    labels: dict[str, frozenset[str] | None] = {}
    if isinstance(tree.args[0], Selector):
        labels = {one.label: frozenset({one.value}) for one in tree.args[0].matchers if one.op == "="}
    return Outcome(bare=of.nothing, present=bool(of.nothing), low=1.0, high=1.0, nan=False, labels=Labels(labels))


def _quantile(tree: Call, found: Outcome) -> Outcome:
    lost = found.labels.of("le") == MISSING and any(
        one.name and one.name.endswith("_bucket") for one in selectors(tree)
    )
    why = "histogram_quantile needs the label `le`, which is not kept: add it to by (…)" if lost else ""
    return replace(found, nothing=found.nothing or why, labels=found.labels.without(["le"]))
