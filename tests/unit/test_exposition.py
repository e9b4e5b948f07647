"""The text format as Prometheus's own page describes it, and as exporters really write it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veloz_chaos.mechanisms.exposition import Sample, page, samples, series

#: https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-example, and what is seen elsewhere
PAGE = r"""
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
	spaced   {	a = "1" , b="2", }	-1e-3
exemplary_bucket{le="1"} 8 # {trace_id="a # b"} 0.67 1520879607.789
empty{} 0
brace{a="}{",b="x"} 1
gone NaN
http_requests_total_created 5
"""


def one(sample: str) -> Sample:
    (found,) = samples(PAGE, series(sample))
    return found


@pytest.mark.parametrize(
    ("sample", "value", "timestamp"),
    [
        ('http_requests_total{method="post",code="200"}', 1027, 1395066363000),
        ('http_requests_total{code="400",method="post"}', 3, 1395066363000),
        ('http_requests_total{code="400"}', 3, 1395066363000),
        (r'msdos_file_access_time_seconds{error="Cannot find file:\n\"FILE.TXT\""}', 1458255915, None),
        (r'msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT"}', 1458255915, None),
        ("metric_without_timestamp_and_labels", 12.47, None),
        ("something_weird", math.inf, -3982045),
        ('http_request_duration_seconds_bucket{le="+Inf"}', 144320, None),
        ('spaced{b="2"}', -0.001, None),
        ("exemplary_bucket", 8, None),
        ("empty", 0, None),
        ('brace{a="}{"}', 1, None),
    ],
)
def test_finds_one(sample: str, value: float, timestamp: float | None) -> None:
    assert one(sample) == Sample(value, timestamp)


def test_no_number_is_found_as_such() -> None:
    assert math.isnan(one("gone").value)


@pytest.mark.parametrize(
    "sample", ["http_requests", "requests_total", 'empty{a=""}', 'http_requests_total{code="500"}']
)
def test_finds_none(sample: str) -> None:
    assert samples(PAGE, series(sample)) == []


def test_finds_several() -> None:
    assert len(samples(PAGE, series("http_requests_total"))) == 2


@pytest.mark.parametrize(
    "line", ["a", "a b", "a 1 2 3", 'a{b="c} 1', "a{b=c} 1", 'a{b="c"', "a 1_0", 'a{b="c" d="e"} 1']
)
def test_a_line_that_cannot_be_read_is_an_error_only_if_it_is_asked_for(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        samples(line + "\nz 1\n", series("a"))
    assert samples(line + "\nz 1\n", series("z")) == [Sample(1)]


@pytest.mark.parametrize("text", ["", "1a", "{}", 'a{b="c"} 1', "a b", 'a{b="c"', "a{b}"])
def test_a_sample_is_written_as_a_series(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        series(text)


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@given(
    st.dictionaries(st.from_regex("[a-z_][a-z0-9_]{0,5}", fullmatch=True), st.text(max_size=8), max_size=4), st.data()
)
def test_every_label_survives_the_way_in_any_order(labels: dict[str, str], data: st.DataObject) -> None:
    def written(names: list[str]) -> str:
        return "a{" + ",".join(f'{name}="{escaped(labels[name])}"' for name in names) + "}"

    names = sorted(labels)
    line = written(data.draw(st.permutations(names))) + " 7\n"
    if not any(end in value for value in labels.values() for end in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        assert samples(f"b 1\n{line}c 2\n", series(written(names))) == [Sample(7)]
    assert series(written(names)).labels == frozenset(labels.items())


def test_a_whole_page() -> None:
    text = '# HELP a x\n# TYPE a histogram\n\na_bucket{le="1"} 3 1700000000000\n# a comment\n  b 1 # {x="y"} 1\n# EOF\n'
    found, declared = page(text)
    assert found == {series('a_bucket{le="1"}'), series("b")}
    assert declared == {"a": "histogram"}
    with pytest.raises(ValueError, match="names no metric"):
        page("<html>\n")
