"""Conditions: CEL, the expression language of Kubernetes, over what a look brought back.

A missing key, index or field of null is *not ok*: the reply lacked something. Operands of the wrong types are an error
of the file. The library reports both as TypeError; `core.expression` tells them apart. It is imported when the first
condition is compiled, without its command line, which would take 170 ms of terminal toolkits with it.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from types import ModuleType
from typing import Any

from veloz_chaos.core import expression
from veloz_chaos.core.duration import show
from veloz_chaos.core.nearest import did_you_mean

LOOK_VARIABLES = frozenset({"status", "headers", "json", "text", "latency", "error", "value", "now"})
LONGEST = 4000

_SAMPLES: Mapping[str, Any] = {
    "status": 200,
    "text": "",
    "latency": timedelta(milliseconds=1),
    "now": datetime(2000, 1, 1, tzinfo=UTC),
}
_CALLS = {
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bytes",
    "type",
    "dyn",
}
_TIMES = {"duration", "timestamp", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear"}
_CLOCKS = {"getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds"}
_FUNCTIONS = frozenset(_CALLS | _TIMES | _CLOCKS)
_TYPES = frozenset({"int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"})
_WRITTEN = {"=": "write == to compare", "and": "write &&", "or": "write ||", "not": "write !", "is": "write =="}
_SYNTAX = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_INPUT = re.compile(r"(?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting .*)?$")
_UNKNOWN = re.compile(r"token recognition error at: '(.*)'")
_ABSENT = (KeyError, IndexError, ZeroDivisionError, OverflowError, UnicodeEncodeError)


class ConditionTypeError(ValueError):
    """The expression cannot work with values of these types: an error of the file."""


class ConditionMissing(LookupError):
    """What the expression asks for is not there; a condition that meets this does not hold."""


@dataclass(frozen=True)
class Condition:
    """A compiled expression."""

    text: str
    _program: Any = field(compare=False, repr=False)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is true of these values; False where something is missing. Else ConditionTypeError."""
        try:
            result = self._evaluated(values)
        except ConditionMissing:
            return False
        if not isinstance(result, bool) and result is not None:
            raise ConditionTypeError(f"`{self.text}` gives {_shown(result)}; write a comparison that is true or false")
        return result is True

    def value(self, values: Mapping[str, Any]) -> Any:
        """The result as JSON could hold it: durations as `1.5s`, times in ISO 8601. ConditionMissing if not there."""
        return _plain(self._evaluated(values))

    def _evaluated(self, values: Mapping[str, Any]) -> Any:
        try:
            return self._program.execute({name: values[name] for name in values.keys() & self.names})
        except _ABSENT as error:
            raise ConditionMissing(_one_line(error)) from None
        except (TypeError, RuntimeError, ValueError) as error:
            if self._lacks_something(values) or _unreadable(error):
                raise ConditionMissing(f"`{self.text}`: a part is missing or null") from None
            raise ConditionTypeError(f"`{self.text}`: {_explained(error)}") from None

    def _lacks_something(self, values: Mapping[str, Any]) -> bool:
        return any(expression.absent(reach, values) for reach in self._reaches)

    @cached_property
    def names(self) -> frozenset[str]:
        """The variables that it reads: nothing else need be given."""
        return frozenset(self._program.variables())

    @cached_property
    def _reaches(self) -> list[expression.Reach]:
        return expression.reaches(self.text)


def compile(text: str, variables: frozenset[str] = LOOK_VARIABLES) -> Condition:  # noqa: A001
    """The condition that the text says, over these variables; ValueError says in one line what is wrong with it."""
    if len(text) > LONGEST:
        raise ValueError(f"the condition has {len(text)} characters; write at most {LONGEST}")
    if not text.strip():
        raise ValueError("the condition is empty; write an expression such as status == 200")
    try:
        program = _cel().compile(text)
    except ValueError as error:
        raise ValueError(_syntax(text, error)) from None
    _check_names(text, program, variables)
    _check_literals(text)
    condition = Condition(text, program)
    _try(condition, variables)
    return condition


def _check_names(text: str, program: Any, variables: frozenset[str]) -> None:
    known = variables | _TYPES | expression.bound(text)
    for name in program.variables():
        if name not in known:
            raise ValueError(f"no variable is called `{name}`; {did_you_mean(name, sorted(variables))}")
    for name in program.functions():
        if name.isidentifier() and name not in _FUNCTIONS:
            raise ValueError(f"no function is called `{name}`; {did_you_mean(name, sorted(_FUNCTIONS))}")


def _check_literals(text: str) -> None:
    """`duration('5x')` is wrong whatever a look brings."""
    for call in expression.literal_calls(text):
        try:
            _cel().evaluate(call)
        except (RuntimeError, ValueError, TypeError) as error:
            shown = call.removeprefix("''.")
            raise ValueError(f"`{shown}` is not valid: {_one_line(error).split(' Check function')[0]}") from None


def _try(condition: Condition, variables: frozenset[str]) -> None:
    """An evaluation over samples finds `status > 'a'` before a run does; what is not sampled is null, so missing."""
    samples = _SAMPLES if variables == LOOK_VARIABLES else {}
    with contextlib.suppress(ConditionMissing):
        condition._evaluated({name: samples.get(name) for name in variables})


@cache
def _cel() -> ModuleType:
    """The library without its command line, which a stand-in keeps from being imported with it."""
    if "cel" not in sys.modules:
        stand_in = sys.modules["cel.cli"] = ModuleType("cel.cli")
        try:
            import cel
        finally:
            del sys.modules["cel.cli"]
        if getattr(cel, "cli", None) is stand_in:
            del cel.cli
    import cel

    return cel


def _syntax(text: str, error: ValueError) -> str:
    found = _SYNTAX.search(str(error))
    if not found:
        return f"the condition cannot be read: {_one_line(error)}"
    line, column, message = found.groups()
    place = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
    if token := _INPUT.search(message) or _UNKNOWN.search(message):
        name = token[1].strip()
        said = "the condition ends too early" if name == "<EOF>" else f"`{name}` is unexpected"
        return f"{place} of the condition: {said}" + (f"; {_WRITTEN[name]}" if name in _WRITTEN else "")
    return f"{place} of the condition: {message}"


def _unreadable(error: Exception) -> bool:
    """int('abc') of a reply's text: the reply's fault, for literals were tried at compile time."""
    return isinstance(error, RuntimeError) and str(error).startswith("Function '")


def _explained(error: Exception) -> str:
    said = _one_line(error)
    if said.startswith("No such overload"):
        return "these types cannot be combined; convert with int(x), double(x) or string(x)"
    if said.startswith("Undefined variable or function: '"):
        return f"`{said.split(chr(39))[1]}` does not work on this type; convert with int(x), double(x) or string(x)"
    if said.startswith("Unsupported operation: "):
        operation = said.removeprefix("Unsupported operation: ").split(". ")[0]
        return f"{operation} does not work; convert with int(x), double(x) or string(x), or write 2.0 for 2"
    return said


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _shown(result: Any) -> str:
    return f"the {type(result).__name__} {str(result)[:40]!r}"


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return show(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise ConditionMissing("the value is not a finite number")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ConditionTypeError(f"a condition cannot give {_shown(value)}; convert it with string(x)")
