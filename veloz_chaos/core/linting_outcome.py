"""What operators make of what they are given: surely nothing, surely something, which values and labels.

Values are ranges, labels are sets of possible values, and whatever is not certain is left open: `nothing` and `bare`
are said only where no sample could prove them wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from veloz_chaos.core.linting_labels import ANY, Labels
from veloz_chaos.core.promql import COMPARISONS, Aggregate, Binary, Call, Negative, Number, Text, Tree

INF = math.inf


@dataclass(frozen=True, slots=True)
class Outcome:
    #: why it surely yields nothing
    nothing: str = ""
    #: why every sample that it reads comes out again, whatever its value
    bare: str = ""
    #: it reads samples that are surely there
    present: bool = False
    low: float = -INF
    high: float = INF
    #: it may yield what is no number, which no comparison holds for
    nan: bool = True
    labels: Labels = ANY

    @property
    def always(self) -> str:
        """Why it surely yields something, whatever happens."""
        return self.bare if self.present and not self.nothing else ""


def any_of(outcomes: list[Outcome]) -> Outcome:
    first, *rest = outcomes
    for one in rest:
        first = _either(first, one)
    return first


def _either(a: Outcome, b: Outcome) -> Outcome:
    if a.nothing or b.nothing:
        return replace(b if a.nothing else a, nothing=a.nothing and b.nothing)
    sure = next((one.bare for one in (a, b) if one.present and one.bare), "")
    return Outcome(
        "", sure or (a.bare and b.bare), bool(sure),
        min(a.low, b.low), max(a.high, b.high), a.nan or b.nan, a.labels.or_(b.labels),
    )  # fmt: skip


def constant(value: float, why: str = "it is a constant") -> Outcome:
    return Outcome(bare=why, present=True, low=value, high=value, nan=math.isnan(value), labels=Labels())


#: Aggregations that yield some of their samples as they are, and those that yield a value among theirs.
_CHOICES = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
_AMONG = _CHOICES | {"avg", "min", "max"}


def aggregated(tree: Aggregate, of: Outcome) -> Outcome:
    low, high = _aggregated_range(tree.op, of)
    labels = of.labels
    if tree.op not in _CHOICES:
        labels = labels.without(tree.without) if tree.by is None else labels.only(tree.by)
    if tree.op == "count_values" and isinstance(tree.param, Text):
        labels = labels.with_({tree.param.value: None})
    nan = of.nan and tree.op not in ("count", "group")
    return replace(of, low=low, high=high, nan=nan, labels=labels)


def _aggregated_range(op: str, of: Outcome) -> tuple[float, float]:
    if op in _AMONG:
        return of.low, of.high
    if op == "sum":
        return (of.low if of.low >= 0 else -INF, of.high if of.high <= 0 else INF)
    return {"count": (1.0, INF), "group": (1.0, 1.0), "stddev": (0.0, INF), "stdvar": (0.0, INF)}.get(op, (-INF, INF))


def is_scalar(tree: Tree) -> bool:
    match tree:
        case Number():
            return True
        case Call():
            return tree.scalar
        case Negative():
            return is_scalar(tree.expr)
        case Binary():
            return is_scalar(tree.left) and is_scalar(tree.right)
    return False


def combined(tree: Binary, left: Outcome, right: Outcome) -> Outcome:
    match tree.op:
        case "or":
            return _either(left, right)
        case "and":
            nothing = left.nothing or right.nothing or _unmatched(tree, left, right)
            return replace(left, nothing=nothing, bare="", present=False)
        case "unless":
            kept = left if right.nothing else replace(left, bare="", present=False)
            return replace(kept, nothing=left.nothing)
    return _compared(tree, left, right) if tree.op in COMPARISONS else _calculated(tree, left, right)


def _sides(tree: Binary, left: Outcome, right: Outcome) -> Outcome:
    """What both sides bring into an operation: where nothing comes of it, what comes through, under which labels."""
    single, double = is_scalar(tree.left), is_scalar(tree.right)
    if single or double:
        vector = right if single else left
        scalar = left if single else right
        return replace(vector, nan=vector.nan or scalar.nan, bare=vector.bare)
    nothing = "" if tree.filled else left.nothing or right.nothing or _unmatched(tree, left, right)
    bare = left.bare and right.bare
    return Outcome(nothing, bare, False, nan=left.nan or right.nan, labels=_matched(tree, left.labels, right.labels))


def _matched(tree: Binary, left: Labels, right: Labels) -> Labels:
    if tree.many:
        many, one = (left, right) if tree.many == "left" else (right, left)
        return many.with_({label: one.of(label) for label in tree.taken})
    return left.without(tree.ignoring) if tree.on is None else left.only(tree.on)


def _unmatched(tree: Binary, left: Outcome, right: Outcome) -> str:
    """Sides of different jobs never meet, unless `on` or `ignoring` leaves the job out."""
    if "job" in tree.ignoring or (tree.on is not None and "job" not in tree.on):
        return ""
    a, b = left.labels.of("job"), right.labels.of("job")
    if a is None or b is None or not a or not b or a & b:
        return ""
    of = " and ".join(", ".join(sorted(filter(None, side))) or "no job" for side in (a, b))
    return f"the samples on both sides of `{tree.op}` never have the same job ({of}): add on (…)"


def _compared(tree: Binary, left: Outcome, right: Outcome) -> Outcome:
    sides = _sides(tree, left, right)
    told = _told(tree.op, left, right)
    if tree.as_bool:
        low, high = (1.0 if told == "always" else 0.0), (0.0 if told == "never" else 1.0)
        bare = sides.bare and "`bool` yields 0 or 1, and an alert fires on either"
        return replace(sides, low=low, high=high, nan=False, bare=bare)
    dead = next((one.nothing for one in (left, right) if one.nothing), "") if tree.op != "!=" else sides.nothing
    if told == "never":
        dead = dead or f"`{tree.op}` never holds: its left side is {_range(left)}, its right side {_range(right)}"
    one_is_scalar = is_scalar(tree.left) or is_scalar(tree.right)
    low, high = _kept(tree, left, right)
    return replace(
        sides, nothing=dead, low=low, high=high, present=sides.present and told == "always" and one_is_scalar,
        bare=sides.bare and f"`{tree.op}` always holds: its left side is {_range(left)}, its right side {_range(right)}"
        if told == "always" else "",
    )  # fmt: skip


def _told(op: str, left: Outcome, right: Outcome) -> str:
    """always, never or maybe."""
    if math.isnan(left.low) or math.isnan(right.low):
        return "always" if op == "!=" else "never"
    if op in ("<", "<="):
        op, left, right = op.replace("<", ">"), right, left
    apart = left.high < right.low or right.high < left.low
    equal = left.low == left.high == right.low == right.high
    sure = not left.nan and not right.nan
    match op:
        case "==":
            return "never" if apart else "always" if equal and sure else "maybe"
        case "!=":
            return "always" if apart else "never" if equal and sure else "maybe"
        case ">":
            return "never" if left.high <= right.low else "always" if left.low > right.high and sure else "maybe"
    return "never" if left.high < right.low else "always" if left.low >= right.high and sure else "maybe"


def _kept(tree: Binary, left: Outcome, right: Outcome) -> tuple[float, float]:
    """The values of what a comparison lets through."""
    op, value, bound = tree.op, left, right
    if is_scalar(tree.left):
        op, value, bound = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op), right, left
    low, high = value.low, value.high
    if op in (">", ">=", "=="):
        low = max(low, bound.low)
    if op in ("<", "<=", "=="):
        high = min(high, bound.high)
    return (low, high) if low <= high else (value.low, value.high)


def _range(one: Outcome) -> str:
    low, high = f"{one.low:g}", f"{one.high:g}"
    if low == high or math.isnan(one.low):
        return low
    if math.isinf(one.low):
        return "any number" if math.isinf(one.high) else f"at most {high}"
    return f"at least {low}" if math.isinf(one.high) else f"from {low} to {high}"


def _calculated(tree: Binary, left: Outcome, right: Outcome) -> Outcome:
    low, high = _arithmetic(tree.op, left, right)
    nan = left.nan or right.nan or tree.op in ("/", "%", "^") or math.isinf(low) or math.isinf(high)
    return replace(_sides(tree, left, right), low=low, high=high, nan=nan)


def _arithmetic(op: str, a: Outcome, b: Outcome) -> tuple[float, float]:
    match op:
        case "+":
            ends = [a.low + b.low, a.high + b.high]
        case "-":
            ends = [a.low - b.high, a.high - b.low]
        case "*":
            ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        case "/" if a.low >= 0 and b.low >= 0:
            return 0.0, INF
        case _:
            return -INF, INF
    return (-INF, INF) if any(map(math.isnan, ends)) else (min(ends), max(ends))
