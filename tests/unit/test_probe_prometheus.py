"""One number of Prometheus, or none: never 0 for nothing. Answers as Prometheus 2 gives them, and the real one."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from tests.infra.answers import Answer, answering
from tests.infra.require import absent
from tests.infra.toxiproxy import free_port
from veloz_chaos.core import condition
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.prometheus import PROBE, Prometheus


def eye(fill: Callable[[str], str] = str, seconds: float = 10) -> Eye:
    return Eye(timedelta(seconds=seconds), fill)


def look(probe: Prometheus, fill: Callable[[str], str] = str) -> Seen:
    return asyncio.run(probe.look(eye(fill)))


def result(kind: str, value: Any, **more: Any) -> Answer:
    return Answer({"status": "success", "data": {"resultType": kind, "result": value}} | more)


def vector(*values: tuple[float, str]) -> Answer:
    return result("vector", [{"metric": {"n": str(n)}, "value": value} for n, value in enumerate(values)])


def asked(answer: Answer, timed: Answer | None = None) -> Seen:
    answers = {f"/api/v1/query?query={quote('up')}": answer}
    if timed is not None:
        answers[f"/api/v1/query?query={quote('timestamp(up)', safe='')}"] = timed
    with answering(answers) as server:
        return look(Prometheus(api=server.url, query="up"))


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"api": "http://a"}, {"query": "up"}, {"scrape": "http://a"}, {"sample": "a"}, {"api": "a", "query": "up"},
        {"api": "http://a", "query": "up", "sample": "a"}, {"scrape": "http://a", "sample": "a b"},
        {"scrape": "http://a", "sample": "a{b}"}, {"api": "http://me:secret@a", "query": "up"},
        {"api": "http://a", "query": "up", "step": 1},
    ],
)  # fmt: skip
def test_says_what_is_wrong(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROBE(**keys)


def test_a_filled_url_that_is_none_is_a_usage_error_without_the_secret() -> None:
    with pytest.raises(UsageError) as error:
        look(Prometheus(api="${env:P}", query="up"), lambda text: text.replace("${env:P}", "secret"))
    assert "secret" not in str(error.value)


def test_one_sample_with_its_age() -> None:
    seen = asked(vector((1700000000.5, "0.25")), vector((1700000000.75, "1699999998.25")))
    assert seen == Seen(status=200, value=0.25, json={"value": 0.25, "age": 2.5})


def test_a_scalar_has_no_age() -> None:
    refused = Answer({"status": "error", "errorType": "bad_data", "error": "expected type vector"}, 400)
    assert asked(result("scalar", [1.0, "3"]), refused) == Seen(status=200, value=3.0, json={"value": 3.0, "age": None})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (vector(), "no sample"),
        (vector((1, "1"), (1, "2")), "2 samples; make the query yield one"),
        (vector((1, "NaN")), "NaN"),
        (result("scalar", [1, "NaN"]), "NaN"),
        (result("matrix", []), "query: it yields a matrix; write one that yields a number"),
        (result("vector", [{"metric": {}, "histogram": [1, {}]}]), "query: it yields a histogram; write one that"),
        (Answer({"status": "error", "errorType": "bad_data", "error": "parse error"}, 400), "query: parse error"),
        (Answer("busy", 503), "HTTP 503"),
        (Answer("<html>"), "not the API of Prometheus"),
        (Answer({"status": "success"}), "not the API of Prometheus"),
    ],
)
def test_what_is_no_number_is_an_error(answer: Answer, error: str) -> None:
    seen = asked(answer)
    assert seen.error.startswith(error)
    assert (seen.value, seen.json) == (None, None)
    assert not condition.compile("value == 0 || json.value == 0").holds({"value": seen.value, "json": seen.json})


def test_infinity_is_a_number() -> None:
    assert asked(vector((1, "+Inf"))).value == float("inf")


def test_nobody_is_there() -> None:
    assert look(Prometheus(api=f"http://127.0.0.1:{free_port()}", query="up")).error == "refused"


def test_headers_and_query_are_filled() -> None:
    with answering({}) as server:
        probe = Prometheus(api=server.url + "/base/", query='up{a="${env:A}"}', headers={"Authorization": "${env:T}"})
        look(probe, lambda text: text.replace("${env:A}", "b c").replace("${env:T}", "t"))
    paths = {one.path for one in server.asked}
    assert "/base/api/v1/query?query=" + quote('up{a="b c"}', safe="") in paths
    assert {one.headers["authorization"] for one in server.asked} == {"t"}


# A page of metrics


def scraped(page: str, sample: str, **how: Any) -> Seen:
    with answering({"/metrics": Answer(page, **how)}) as server:
        return look(Prometheus(scrape=f"{server.url}/metrics", sample=sample))


def test_a_sample_of_a_page() -> None:
    page = 'status{status="slow"} 0\nstatus{status="ok"} 1\n'
    assert scraped(page, 'status{status="ok"}') == Seen(status=200, value=1.0, json={"value": 1.0, "age": 0.0})


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("b 1\n", "no sample"),
        ("", "no sample"),
        ("a NaN\n", "NaN"),
        ('a{b="1"} 1\na{b="2"} 2\n', "2 samples; make the sample yield one"),
        ("a one\n", "unreadable: "),
    ],
)
def test_a_page_without_one_number(page: str, error: str) -> None:
    seen = scraped(page, "a")
    assert seen.error.startswith(error)
    assert seen.value is None


def test_a_page_that_is_none() -> None:
    assert scraped("a 1\n", "a", status=500).error == "HTTP 500"


def test_the_age_of_a_scraped_sample_is_by_its_timestamp() -> None:
    now = time.time()
    plain = scraped(f"a 1 {int((now - 60) * 1000)}\n", "a")
    openmetrics = scraped(f"a 1 {now - 60}\n", "a", headers={"content-type": "application/openmetrics-text"})
    assert plain.json["age"] >= 59.9
    assert openmetrics.json["age"] >= 59.9
    assert openmetrics.json["age"] < 59.9 + time.time() - now + 1


# The real one


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        absent("prometheus", "no prometheus on PATH; apt-get install prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    itself = {"job_name": "self", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [itself]})
    (folder / "prometheus.yml").write_text(config)
    process = subprocess.Popen(
        [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_the_real_one(real: str) -> None:
    deadline = time.monotonic() + 60
    while look(Prometheus(api=real, query="up")).value != 1.0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    scraped = look(Prometheus(api=real, query="up"))
    assert scraped.error == ""
    assert scraped.json["age"] >= 0
    assert look(Prometheus(api=real, query="1 + 1")).json == {"value": 2.0, "age": None}
    assert look(Prometheus(api=real, query="no_such_metric")).error == "no sample"
    assert "samples; make the query yield one" in look(Prometheus(api=real, query='{__name__=~"go_mem.*"}')).error
    assert look(Prometheus(api=real, query="sum(")).error.startswith("query: ")
    assert look(Prometheus(scrape=f"{real}/metrics", sample="prometheus_build_info")).value == 1.0


def test_a_page_of_megabytes_is_read_fast_enough() -> None:
    page = "".join(f'other_{n % 1000}{{a="{n}"}} {n}\n' for n in range(200_000)) + "wanted 7\n"
    assert scraped(page, "wanted").value == 7.0
