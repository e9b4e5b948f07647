import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.core.condition import ConditionMissing, ConditionTypeError, compile  # noqa: A004

LOOK: dict[str, Any] = {
    "status": 200,
    "headers": {"retry-after": "5"},
    "json": {
        "status": "ok",
        "ok": True,
        "n": None,
        "half": 1.5,
        "list": [1, 2],
        "rows": [{"x": 1}, {"x": None}],
        "o": {},
    },
    "text": "all is well",
    "latency": timedelta(milliseconds=50),
    "error": None,
    "value": 3.0,
    "now": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(
    "text",
    [
        "status == 200 && json.status == 'ok'",
        "latency < duration('500ms')",
        "json.ok",
        "headers['retry-after'] == '5'",
        "int(headers['retry-after']) >= 1",
        "text.contains('well')",
        "text.matches('^all')",
        "error == null",
        "now > timestamp('2025-01-01T00:00:00Z')",
        "value > 2",
        "json.list.exists(i, i == 2)",
        "json.rows.exists(row, row.x == 1)",
        "size(json.list) == 2",
        "has(json.ok) && !has(json.gone)",
        "json.gone == 1 || status == 200",
        "json.n == null",
        "type(json) == map",
    ],
)
def test_holds(text: str) -> None:
    assert compile(text).holds(LOOK) is True


@pytest.mark.parametrize("reply", [None, "<html>", [1], 5, {}, {"status": None}, {"status": {"a": 1}}])
@pytest.mark.parametrize(
    "text",
    [
        "json.status == 'ok'",
        "json['status'] == 'ok'",
        "json.status.code == 200",
        "status == 200 && json.status == 'ok'",
        "json.status.exists(s, s.code > 1)",
        "'x' in json.status.names",
        "json.status.names.size() > 1",
        "json.list[7] == 1",
    ],
)
def test_what_a_reply_lacks_is_not_ok(reply: Any, text: str) -> None:
    assert compile(text).holds(LOOK | {"json": reply}) is False


@pytest.mark.parametrize(
    "text",
    [
        "json.n > 1",
        "json.n.x == 1",
        "size(json.n) == 0",
        "json.n",
        "!json.n",
        "json.list[5] == 1",
        "json.rows.exists(row, row.x > 1)",
        "1 / (json.list[0] - 1) == 1",
        "int(text) == 5",
        "headers['none'] == ''",
        "error.contains('refused')",
    ],
)
def test_missing_null_and_unreadable_are_not_ok(text: str) -> None:
    assert compile(text).holds(LOOK) is False
    if text != "json.n":
        with pytest.raises(ConditionMissing):
            compile(text).value(LOOK)


@pytest.mark.parametrize("name", ["status", "latency", "text", "value"])
def test_a_look_without_an_answer_is_not_ok(name: str) -> None:
    texts = {
        "status": "status < 500",
        "latency": "latency < duration('1s')",
        "text": "text != text + 'x'",
        "value": "value > 0",
    }
    assert compile(texts[name]).holds(LOOK | {name: None}) is False


@pytest.mark.parametrize(
    "text", ["json.status > 1", "json.half * 2 > 3.0", "json.status", "status", "json.ok ? 1 : 2", "value > 'a'"]
)
def test_wrong_types_are_an_error_of_the_file(text: str) -> None:
    with pytest.raises(ConditionTypeError, match="`"):
        compile(text).holds(LOOK)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the condition is empty; write an expression such as status == 200"),
        ("status ==", "column 10 of the condition: the condition ends too early"),
        ("status = 200", "column 8 of the condition: `=` is unexpected; write == to compare"),
        ("status == 200 and json.ok", "column 15 of the condition: `and` is unexpected; write &&"),
        ("status == 200\n&& )", "line 2, column 4 of the condition: `)` is unexpected"),
        ("statsu == 200", "no variable is called `statsu`; did you mean `status`?"),
        ("json.list.exists(i, j == 1)", "no variable is called `j`"),
        ("siz(json) == 1", "no function is called `siz`; did you mean `size`?"),
        ("status > 'a'", "`status > 'a'`: these types cannot be combined"),
        ("latency < 5", "`latency < 5`: these types cannot be combined"),
        ("1.5 * 2 == 3.0", "float * int does not work"),
        ("latency < duration('5x')", "`duration('5x')` is not valid"),
        ("text.matches('(')", "`matches('(')` is not valid"),
        ("x" * 5000, "the condition has 5000 characters"),
    ],
)
def test_compiling_says_in_one_line_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        compile(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("json.list", [1, 2]),
        ("json.o", {}),
        ("latency", "50ms"),
        ("now", "2026-01-01T00:00:00+00:00"),
        ("json.n", None),
        ("json.list.map(i, i * 2)", [2, 4]),
        ("status + 1", 201),
    ],
)
def test_values_are_plain(text: str, value: Any) -> None:
    assert compile(text).value(LOOK) == value


def test_other_variables() -> None:
    condition = compile("fault.p50 >= 1.5 * baseline.p50", frozenset({"fault", "baseline"}))
    assert condition.holds({"fault": {"p50": 30.0}, "baseline": {"p50": 10.0}})
    assert not condition.holds({"fault": {}, "baseline": {"p50": 10.0}})


replies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["status", "a", "x"]), below),
    max_leaves=8,
)


@given(replies)
def test_no_reply_makes_a_right_condition_fail(reply: Any) -> None:
    for text in (
        "json.status == 'ok'",
        "json.a.x == 1 || json.a[0] == 2",
        "json.a.all(i, i.x == 'y')",
        "'x' in json.a",
    ):
        assert compile(text).holds(LOOK | {"json": reply}) in (True, False)


@given(st.text(st.sampled_from("jsonstatux.[]()'\"=<>&|!?:1 0+-*/,{}i\n\\")))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    try:
        condition = compile(text)
        condition.value(LOOK)
    except (ValueError, ConditionMissing) as error:
        assert "\n" not in str(error)


def test_the_library_is_imported_late_and_without_its_command_line() -> None:
    code = (
        "import sys; from veloz_chaos.core import condition; assert 'cel' not in sys.modules;"
        "condition.compile('status == 200');"
        "assert 'cel' in sys.modules and not {'prompt_toolkit', 'cel.cli'} & set(sys.modules);"
        "import cel.cli; assert cel.cli.__file__.endswith('cli.py') and cel.cli.app"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
