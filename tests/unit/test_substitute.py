from datetime import timedelta
from typing import Any

import pytest

from veloz_chaos.core.document import parse
from veloz_chaos.core.substitute import references, substitute
from veloz_chaos.errors import InvalidFile

VALUES: dict[str, Any] = {"n": 5, "s": "text", "l": [1, {"a": 2}], "t": True, "d": timedelta(seconds=90), "none": None}


def keep(name: str) -> bool:
    return name in ("unique", "each.url") or name.startswith("env:")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${n}", 5),
        ("${l}", [1, {"a": 2}]),
        ("${none}", None),
        ("${d}", timedelta(seconds=90)),
        ("n=${n}, ${s}", "n=5, text"),
        ("is ${t}", "is true"),
        ("for ${d}", "for 90s"),
        ("$${n}", "${n}"),
        ("$$${n}", "$${n}"),
        ("$n {n} $", "$n {n} $"),
        ("${env:TOKEN}", "${env:TOKEN}"),
        ("${s}/${each.url}/${unique}", "text/${each.url}/${unique}"),
    ],
)
def test_fills_in(text: str, filled: Any) -> None:
    assert substitute({"a": [text, 1]}, VALUES, None, keep) == {"a": [filled, 1]}


def test_what_was_filled_in_is_not_looked_at_again() -> None:
    assert substitute(["${a}", "-${a}"], {"a": "${b}", "b": "never"}) == ["${b}", "-${b}"]


def test_a_template_for_later_keeps_its_literals_escaped() -> None:
    once = substitute(["${a} ${unique}", "$${b}", "${l}"], {"a": "${unique}", "l": ["${b}"]}, None, keep, again=True)
    assert once == ["$${unique} ${unique}", "$${b}", ["$${b}"]]
    assert substitute(once, {"unique": "7"}) == ["${unique} 7", "${b}", ["${b}"]]


def test_every_problem_at_its_place() -> None:
    document = parse('a: ${signl}\nb: "v=${list} ${env:X}"\nc: "${"\n"${k}": 1\nd: ["x", "${}"]\n', "f")
    with pytest.raises(InvalidFile) as caught:
        substitute(document.data, {"signal": 1, "list": []}, document, keep)
    assert str(caught.value).split("\n") == [
        "f:1:4: nothing is called `signl`; did you mean `signal`?",
        "f:2:4: `list` is a list and cannot stand inside other text; write ${list} alone",
        "f:3:4: `${` is never closed; write ${name}, or $${ for the two characters themselves",
        "f:4:1: the key `${k}` holds a reference; write references in values only",
        "f:5:10: `${}` names nothing; known: signal, list",
    ]


def test_nothing_without_a_value_stands_inside_text() -> None:
    with pytest.raises(InvalidFile, match="`none` is empty and cannot stand inside other text"):
        substitute("-${none}", VALUES)


def test_part_of_a_document_is_placed_in_the_whole() -> None:
    document = parse('fault:\n  delay: "${x}"\n', "f")
    with pytest.raises(InvalidFile, match="f:2:10: nothing is called `x`; declare it first"):
        substitute(document.data["fault"], {}, document, path=("fault",))


def test_lists_references() -> None:
    data = {"a": "${x} and ${y}", "b": ["$${z}", "${env:X}", 5], "${k}": None}
    assert list(references(data)) == [(("a",), "x"), (("a",), "y"), (("b", 1), "env:X")]
