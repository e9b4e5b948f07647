import textwrap
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from veloz_chaos.core.document import Document, Mark, parse, problems_of, validate
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name
from veloz_chaos.errors import InvalidFile


def wrong(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        parse(text, "f")
    return str(caught.value).split("\n")


def test_knows_where_everything_stood() -> None:
    document = parse("a: 1\nb:\n  - x\n  - c: true\n", "f")
    assert document.data == {"a": 1, "b": ["x", {"c": True}]}
    assert document.at(("b", 1, "c")) == Mark(4, 8)
    assert document.key_at(("b", 1, "c")) == Mark(4, 5)
    assert document.key_at(("b", 0)) == document.at(("b", 0)) == Mark(3, 5)
    assert document.at(("b", 1, "no", "such")) == Mark(4, 5)
    assert str(document.problem(("a",), "is one", "write two")) == "f:1:4: is one; write two"


def test_marks_nothing_that_is_not_there() -> None:
    assert set(parse("a: {b: [1]}", "f").marks) == {(), ("a",), ("a", "b"), ("a", "b", 0)}


def test_reads_what_json_would() -> None:
    text = "{s: text, q: '1', i: -12, big: 123456789012345678901234567890, f: 1.5, e: 1e3, t: true, z: null, x: 0x1F}"
    big = 123456789012345678901234567890
    expected = {"s": "text", "q": "1", "i": -12, "big": big, "f": 1.5, "e": 1000.0, "t": True, "z": None, "x": 31}
    assert parse(text, "f").data == expected


def test_a_key_with_nothing_is_none() -> None:
    assert parse("a:\nb: ~\n", "f").data == {"a": None, "b": None}


def test_reads_what_only_looks_odd() -> None:
    text = "a: 127.0.0.1:8474\nb: 06:00\nc: '10:00'\nd: 8/s\ne: 50%\nf: gateway->engine\ng: ${x}\nh: '<<'\n"
    assert list(parse(text, "f").data.values())[:2] == ["127.0.0.1:8474", "06:00"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f:1:1: the file is empty; start it with `kind:`"),
        ("# only words\n", "f:1:1: the file is empty; start it with `kind:`"),
        ("---\n", "f:1:1: the file is empty; start it with `kind:`"),
        ("- a", "f:1:1: the file is a list; write a mapping of keys"),
        ("word", "f:1:1: the file is a string; write a mapping of keys"),
        ("a: 1\n---\nb: 1\n", "f:3:1: a second document starts here; keep one document in a file"),
        (
            "a: 1\nb: 2\na: 3",
            "f:3:1: the key `a` stands here for the second time (first in line 1:1); remove one of them",
        ),
        ("a: &x 1", "f:1:4: the anchor `&x` is not allowed; write the value out"),
        ("a: *x", "f:1:4: the alias `*x` is not allowed; write the value out"),
        ("<<: {}", "f:1:1: the merge key `<<` is not allowed; write the keys out"),
        ("a: !!str 1", "f:1:4: the tag `!!str` is not allowed; write the plain value"),
        ("a: !x 1", "f:1:4: the tag `!x` is not allowed; write the plain value"),
        ("a: " + "[" * 50 + "]" * 50, "f:1:43: nested deeper than 40 levels; flatten it"),
        ("[" * 100_000, "f:1:41: nested deeper than 40 levels; flatten it"),
        ("a: " + "x" * (1 << 20), "f:1:1: the file is larger than 1 MiB; split it"),
        ("a: b\0", "f:1:5: the file contains a NUL character; remove it or save the file as UTF-8"),
        (
            "a: \ud800",
            "f:1:4: the file contains an unprintable character (U+D800); remove it or save the file as UTF-8",
        ),
        ("a: b\n\tc: d", "f:2:1: a tab stands where only spaces may; indent with spaces"),
        ("a: 'x", "f:1:6: found unexpected end of stream (while scanning a quoted scalar)"),
        ("200: a", "f:1:1: the key `200` is a number; quote it"),
        ("true: a", "f:1:1: the key `true` is true; quote it"),
        ("? [a]\n: b", "f:1:3: a key must be text; write a plain word"),
        ("on: a", "f:1:1: `on` is read as true; quote it"),
        ("a: on", "f:1:4: `on` is read as true; write true or quote it"),
        ("a: No", "f:1:4: `No` is read as false; write false or quote it"),
        ("a: [y]", "f:1:5: `y` is read as true by some readers; write true or quote it"),
        ("a: 1:30", "f:1:4: `1:30` is read as 90; write 90s or quote it"),
        ("a: 10:00", "f:1:4: `10:00` is read as 600; quote it"),
        ("a: 24:00", "f:1:4: `24:00` is read as 1440; write 1440s or quote it"),
        ("a: 010", "f:1:4: `010` looks octal and is read differently by different readers; write 10 or quote it"),
        ("a: 1_0", "f:1:4: `1_0` is read as 10 by some readers and as text by others; write 10 or quote it"),
        ("a: 0b11", "f:1:4: `0b11` is read as 3; write that number or quote it"),
        ("a: 2024-01-02", "f:1:4: `2024-01-02` is read as a date; quote it"),
        ("a: .nan", "f:1:4: `.nan` is read as not a number; write a finite number or quote it"),
        ("a: -.inf", "f:1:4: `-.inf` is read as infinity; write a finite number or quote it"),
        ("a: 1e999", "f:1:4: `1e999` is read as infinity; write a smaller number or quote it"),
        ("a: " + "9" * 5000, "f:1:4: a number of 5000 characters; quote it if it is text"),
        ("a: {b: ${x}}", 'f:1:8: `${x}` needs quotes inside {…} and […]; quote it: "${x}"'),
        ("a: [/p/${x}]", 'f:1:8: `${x}` needs quotes inside {…} and […]; quote it: "${x}"'),
    ],
)
def test_refuses(text: str, said: str) -> None:
    assert wrong(text) == [said]


def test_names_all_problems_in_one_go() -> None:
    text = "on: 1\na: {b: ${x}, c: [${y}, yes]}\nd: 1:30\nd: *e\n"
    assert [line.split(": ")[0] for line in wrong(text)] == [
        "f:1:1", "f:2:8", "f:2:18", "f:2:24", "f:3:4", "f:4:1", "f:4:4",
    ]  # fmt: skip


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"))


class Kill(Model):
    kind: Literal["kill"]
    service: str
    pick: int | Literal["one", "all"] = "one"


class Latency(Model):
    kind: Literal["latency"]
    link: str
    delay: Duration


class Until(Model):
    name: str
    until: str | list[str]
    within: Duration | None = None


class Manual(Model):
    name: str
    manual: dict[str, int]


class Experiment(Model):
    name: str = Field(min_length=2)
    count: int = 1
    allowed_on: list[Literal["development", "staging", "production"]] = []
    fault: Annotated[Kill | Latency, Field(discriminator="kind")] | None = None
    steps: list[Until | Manual] = []
    wait: Duration | Literal["variable"] = "variable"
    shown: list[Name] = []
    more: dict[str, Kill] = {}

    @model_validator(mode="after")
    def _not_seven(self) -> "Experiment":
        if self.count == 7:
            raise ValueError("seven is odd; write six")
        return self


def complaints(text: str) -> list[str]:
    document = parse(textwrap.dedent(text), "f")
    with pytest.raises(InvalidFile) as caught:
        validate(Experiment, document)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("step: []", "f:2:1: unknown key `step`; did you mean `steps`?"),
        ("allowed_on: []", "f:2:1: unknown key `allowed_on`; did you mean `allowed-on`?"),
        ("zzz: 1", "f:2:1: unknown key `zzz`; known: name, count, allowed-on, fault, steps, wait, shown, more"),
        (
            "shown: [A b]",
            "f:2:9: `shown[0]`: `A b` is no name; write lower-case letters and digits, with . _ > - between them",
        ),
        (
            "shown: [not up]",
            "f:2:9: `shown[0]`: `not up` is no name; `not` does not go here; name a probe that is shown then",
        ),
        ("count: x", "f:2:8: `count` must be an integer, not a string"),
        ("count: 1.5", "f:2:8: `count` must be an integer, not 1.5"),
        ("count:", "f:2:7: `count` must be an integer, not empty"),
        ("count: 7", "f:1:1: seven is odd; write six"),
        ("allowed-on: staging", "f:2:13: `allowed-on` must be a list, not a string"),
        (
            "allowed-on: [staging, stagin]",
            "f:2:23: `allowed-on[1]` must be `development`, `staging` or `production`, not `stagin`; "
            "did you mean `staging`?",
        ),
        ("fault: {kind: kil}", "f:2:8: `fault` cannot be `kil`; did you mean `kill`?"),
        ("fault: {}", "f:2:8: `kind` is missing"),
        ("fault: {kind: kill}", "f:2:8: `service` is missing"),
        ("fault: {kind: kill, service: a, pik: 1}", "f:2:33: unknown key `pik`; did you mean `pick`?"),
        ("fault: {kind: latency, link: a, delay: 5}", "f:2:40: a duration needs a unit; write 5s"),
        (
            "fault: {kind: kill, service: a, pick: two}",
            "f:2:39: `pick` must be an integer, `one` or `all`, not `two`",
        ),
        ("steps: [5]", "f:2:9: `steps[0]` must be a mapping, not a number"),
        ("steps: [{name: a, until: {}}]", "f:2:26: `until` must be a string or a list, not a mapping"),
        ("steps: [{name: a, manual: {b: x}}]", "f:2:31: `b` must be an integer, not a string"),
        ("more: {x: {kind: kill, service: []}}", "f:2:33: `service` must be a string, not a list"),
    ],
)
def test_complains_at_the_place(line: str, said: str) -> None:
    assert complaints(f"name: ab\n{line}\n") == [said]


def test_one_problem_for_one_value_of_a_union() -> None:
    (said,) = complaints("name: ab\nwait: fast\n")
    assert said.startswith("f:2:7: `fast` is not a duration; write")
    assert said.endswith("or `variable`")


def test_complains_of_everything_at_once() -> None:
    said = complaints("name: x\ncount: a\nfault: {kind: latency, dely: 5s}\n")
    assert [line.split(": ", 1)[0] for line in said] == ["f:1:7", "f:2:8", "f:3:8", "f:3:8", "f:3:24"]
    assert said[0] == "f:1:7: `name` must have at least 2 characters"


def test_missing_keys_are_named_at_the_parent() -> None:
    assert complaints("count: 1") == ["f:1:1: `name` is missing"]


def test_validates_part_of_a_document() -> None:
    document = parse("faults:\n  - {kind: kill, service: 5}\n", "f")
    with pytest.raises(InvalidFile, match="f:2:27: `service` must be a string, not a number"):
        validate(Kill, document, path=("faults", 0))


def test_validates_other_data_at_the_place_of_the_template() -> None:
    document = parse('fault: {kind: latency, link: a, delay: "${delay}"}\n', "f")
    data = {"kind": "latency", "link": "a", "delay": 5}
    with pytest.raises(InvalidFile, match="f:1:40: a duration needs a unit; write 5s"):
        validate(Latency, document, data, ("fault",))
    latency = validate(Latency, document, data | {"delay": "5s"}, ("fault",))
    assert latency.delay == timedelta(seconds=5)


def test_known_keys_may_come_from_the_caller() -> None:
    document = parse("aple: 1\n", "f")
    assert [p.remedy for p in _problems(document, lambda path: ["apple"] if path == () else [])] == [
        "did you mean `apple`?"
    ]


def _problems(document: Document, known: Any) -> Any:
    class Nothing(Model):
        pass

    try:
        Nothing.model_validate(document.data)
    except ValueError as error:
        return problems_of(document, error, known)  # type: ignore[arg-type]


def test_the_context_reaches_the_validators() -> None:
    class Seen(Model):
        @model_validator(mode="before")
        @classmethod
        def _look(cls, data: Any, info: Any) -> Any:
            if info.context != "here":
                raise ValueError("no context")
            return data

    assert isinstance(validate(Seen, parse("{}", "f"), context="here"), Seen)
