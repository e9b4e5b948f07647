"""PromQL as a small tree: what an expression reads, and what it does with it.

The parser is a Rust library, which is imported when the first expression is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import ModuleType
from typing import Any

from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.core.linting_labels import Matcher

#: Operators of two sides that keep or drop samples instead of computing.
COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SET = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{matchers}[window] offset …`; nanoseconds. An instant has no window."""

    #: None where a matcher of `__name__` chooses
    name: str | None
    matchers: tuple[Matcher, ...]
    window: int = 0
    offset: int = 0
    #: alternatives (`{a="1" or b="2"}`) that are not looked into
    vague: bool = False

    def __str__(self) -> str:
        inside = ",".join(map(str, self.matchers))
        return (self.name or "") + (f"{{{inside}}}" if inside or not self.name else "")


@dataclass(frozen=True, slots=True)
class Subquery:
    expr: Tree
    window: int
    step: int
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Tree, ...]
    scalar: bool


@dataclass(frozen=True, slots=True)
class Aggregate:
    op: str
    expr: Tree
    param: Tree | None
    #: the labels that are kept, or None where `without` says which are dropped
    by: frozenset[str] | None
    without: frozenset[str]


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Tree
    right: Tree
    #: `bool`: 0 or 1 instead of a filter
    as_bool: bool = False
    on: frozenset[str] | None = None
    ignoring: frozenset[str] = frozenset()
    #: which side may have several series for one of the other: "left", "right", ""
    many: str = ""
    #: labels taken over from the side of one
    taken: frozenset[str] = frozenset()
    #: what is put where one side has nothing
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Negative:
    expr: Tree


Tree = Number | Text | Selector | Subquery | Call | Aggregate | Binary | Negative


def parse(text: str) -> Tree:
    """Raises ValueError with what is wrong."""
    return _tree(_library().parse(text))


def selectors(tree: Tree) -> Iterator[Selector]:
    """All that the expression reads, left to right."""
    if isinstance(tree, Selector):
        yield tree
    for part in children(tree):
        yield from selectors(part)


def children(tree: Tree) -> tuple[Tree, ...]:
    match tree:
        case Call():
            return tree.args
        case Binary():
            return (tree.left, tree.right)
        case Aggregate():
            return (tree.expr,) if tree.param is None else (tree.param, tree.expr)
        case Subquery() | Negative():
            return (tree.expr,)
    return ()


@cache
def _library() -> ModuleType:
    import promql_parser as library

    matrix, scalar, vector = library.ValueType.Matrix, library.ValueType.Scalar, library.ValueType.Vector
    # of Prometheus 2, gone in 3
    library.register_extra_functions([library.Function("holt_winters", [matrix, scalar, scalar], vector)])
    return library


def _tree(node: Any) -> Tree:
    return _MAKERS[type(node).__name__](node)


def _selector(node: Any, window: int = 0) -> Selector:
    matchers = tuple(Matcher(one.name, _OPS[str(one.op)], one.value) for one in node.matchers.matchers)
    name = node.name
    named = [one for one in matchers if one.label == "__name__" and one.op == "="]
    if name is None and named:
        name, matchers = named[0].value, tuple(one for one in matchers if one is not named[0])
    return Selector(name, matchers, window, _length(node.offset), bool(node.matchers.or_matchers))


def _subquery(node: Any) -> Subquery:
    return Subquery(_tree(node.expr), _length(node.range), _length(node.step), _length(node.offset))


def _aggregate(node: Any) -> Aggregate:
    said = node.modifier
    labels = frozenset(said.labels) if said else frozenset[str]()
    without = said is not None and str(said.type).endswith("Without")
    param = _tree(node.param) if node.param is not None else None
    return Aggregate(str(node.op), _tree(node.expr), param, None if without else labels, labels if without else _NONE)


def _binary(node: Any) -> Binary:
    left, right, said = _tree(node.lhs), _tree(node.rhs), node.modifier
    if said is None:
        return Binary(str(node.op), left, right)
    matching = said.matching
    on = frozenset(matching.labels) if matching and str(matching.type).endswith("Include") else None
    ignoring = frozenset(matching.labels) if matching and on is None else _NONE
    fill = said.fill_values
    return Binary(
        str(node.op), left, right, bool(said.return_bool), on, ignoring,
        _MANY.get(str(said.card).rpartition(".")[2], ""), frozenset(said.group_labels or ()),
        fill is not None and (fill.lhs is not None or fill.rhs is not None),
    )  # fmt: skip


def _call(node: Any) -> Call:
    scalar = str(node.func.return_type).endswith("Scalar")
    return Call(node.func.name, tuple(map(_tree, node.args)), scalar)


def _length(value: timedelta | None) -> int:
    return nanoseconds(value) if value else 0


_NONE: frozenset[str] = frozenset()
_MANY = {"ManyToOne": "left", "OneToMany": "right"}
_OPS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
_MAKERS: dict[str, Callable[[Any], Tree]] = {
    "NumberLiteral": lambda node: Number(node.val),
    "StringLiteral": lambda node: Text(node.val),
    "ParenExpr": lambda node: _tree(node.expr),
    "UnaryExpr": lambda node: Negative(_tree(node.expr)),
    "VectorSelector": _selector,
    "MatrixSelector": lambda node: _selector(node.vector_selector, _length(node.range)),
    "SubqueryExpr": _subquery,
    "AggregateExpr": _aggregate,
    "BinaryExpr": _binary,
    "Call": _call,
}
