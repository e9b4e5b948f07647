import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from veloz_chaos.core.duration import LONGEST, Duration, nanoseconds, of_nanoseconds, parse, show

durations = st.timedeltas(min_value=timedelta(0), max_value=LONGEST)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("7w", 7 * 604800),
        ("1.5s", 1.5),
        ("1m30s", 90),
        ("0s", 0),
        ("0.5ms", 0.0005),
        ("1h0.5s", 3600.5),
        ("1s500ms", 1.5),
    ],
)
def test_reads_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30", "a duration needs a unit; write 30s"),
        ("-5s", "a duration cannot be negative; write 5s"),
        ("5 minutes", "`5 minutes` is not a duration; write 5m"),
        ("30sec", "`30sec` is not a duration; write 30s"),
        ("200msec", "`200msec` is not a duration; write 200ms"),
        ("1e3s", "write a number and a unit"),
        ("nan", "write a number and a unit"),
        ("infs", "write a number and a unit"),
        ("", "write a number and a unit"),
        ("٣s", "write a number and a unit"),
        (" 5s", "write 5s"),
        ("30s1m", "the largest first"),
        ("1s1s", "write each once"),
        ("1.5m30s", "decimals only in the last"),
        ("0.0001ms", "finer than a microsecond"),
        ("10000w", "longer than ten years"),
        ("9" * 5000 + "s", "is not a duration"),
    ],
)
def test_says_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="; ") as caught:
        parse(text)
    assert said in str(caught.value)


@given(durations)
def test_what_is_shown_reads_back(value: timedelta) -> None:
    assert parse(show(value)) == value


@given(durations)
def test_nanoseconds_are_exact(value: timedelta) -> None:
    assert of_nanoseconds(nanoseconds(value)) == value


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert timedelta(0) <= parse(text) <= LONGEST
    except ValueError as error:
        assert "write" in str(error)


@pytest.mark.parametrize("text", ["500ms", "1.5s", "90s", "2h", "1d", "0s", "7w", "1h1s", "0.5ms", "250ms"])
def test_shows_what_people_write(text: str) -> None:
    assert show(parse(text)) == text


class Held(BaseModel):
    length: Duration


def test_is_text_in_files_and_a_timedelta_in_python() -> None:
    held = Held.model_validate({"length": "1m30s"})
    assert held.length == timedelta(seconds=90)
    assert held.model_dump_json() == '{"length":"90s"}'
    assert Held.model_validate_json(held.model_dump_json()) == held
    assert Held(length=timedelta(seconds=1)).length == timedelta(seconds=1)


@pytest.mark.parametrize("value", [30, 1.5, True, None, [], math.inf])
def test_a_number_is_not_a_duration(value: object) -> None:
    with pytest.raises(ValidationError, match="write"):
        Held.model_validate({"length": value})


def test_a_bare_number_names_the_unit() -> None:
    with pytest.raises(ValidationError, match="a duration needs a unit; write 30s"):
        Held.model_validate({"length": 30})


def test_the_schema_is_for_text() -> None:
    assert Held.model_json_schema()["properties"]["length"]["type"] == "string"
