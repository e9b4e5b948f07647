"""Whatever stands in a file, it is read or refused with places that exist."""

import json
import re
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from veloz_chaos.core.document import Document, parse
from veloz_chaos.core.substitute import references, substitute
from veloz_chaos.errors import InvalidFile

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
yamlish = st.text(st.sampled_from("ab1:0-.?,[]{}#&*!|>'\"%@`$ \n\t\r<~=é\ufeff\u2028\x85\0_enoy"), max_size=60)
chunks = [
    "${x}",
    "a: ",
    "- ",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "on",
    "1:30",
    "010",
    "&a ",
    "*a",
    "<<: ",
    "'",
    '"',
    "? ",
]
pieces = st.lists(st.sampled_from(chunks), max_size=25).map("".join)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"))
)
plain = st.recursive(scalars, lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=15)

words = st.sampled_from(
    ["engine", "orders accepted", "gateway->exchange", "2", "0x1", "yes", "a: b", "#", "", "a\nb", "- x", "é"]
)
trees = st.recursive(words, lambda below: st.lists(below) | st.dictionaries(words, below), max_leaves=12)


def check(text: str) -> Document | None:
    try:
        document = parse(text, "f")
    except InvalidFile as error:
        assert error.problems
        for problem in error.problems:
            assert_inside(text, problem.line, problem.column)
            assert problem.message
        return None
    for mark in [*document.marks.values(), *document.keys.values()]:
        assert_inside(text, *mark)
    return document


def assert_inside(text: str, line: int, column: int) -> None:
    lines = BREAK.split(text)
    assert 1 <= line <= len(lines)
    assert 1 <= column <= len(lines[line - 1]) + 1


@given(st.text() | yamlish | pieces)
@example("{a: 1\n")
@example("a: {b: ${x")
@example("\ufeffa: 'x")
@example("a: |\n")
@example("? ;")
def test_any_text_is_read_or_refused(text: str) -> None:
    check(text)


@given(st.text(st.characters(), max_size=20))
def test_also_with_surrogates(text: str) -> None:
    check("a: " + text)


@given(st.dictionaries(st.text(st.characters(codec="latin-1", exclude_characters="\x85")), plain))
def test_reads_json_as_json_does(data: dict[str, Any]) -> None:
    document = check(json.dumps(data, ensure_ascii=False))
    if document is not None:
        assert document.data == data


@given(st.dictionaries(words, trees))
def test_reads_what_yaml_wrote(data: dict[str, Any]) -> None:
    document = check(yaml.safe_dump(data))
    assert document is not None
    assert document.data == data


@given(pieces, st.text())
def test_what_is_filled_in_is_not_scanned_again(text: str, value: str) -> None:
    try:
        filled = substitute({"k": text.replace("$${", "")}, {"x": value})
    except InvalidFile:
        return
    assert filled["k"] == text.replace("${x}", value)


@given(plain, st.text())
def test_a_second_substitution_finds_only_what_was_kept(data: Any, value: str) -> None:
    def keep(name: str) -> bool:
        return name == "unique"

    try:
        first = substitute({"v": ["${x}", "-${x}-${unique}"], "d": data}, {"x": value}, None, keep, again=True)
    except InvalidFile:
        return
    assert {name for _, name in references(first)} == {"unique"} | {name for _, name in references(data)}
    assert substitute(first["v"], {"unique": "u"}) == [value, f"-{value}-u"]
