"""`veloz-chaos catch` answers as the services do, keeps what it may, tells it, and survives what it is sent."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.catch.catching import CATCH, catching
from tests.unit.test_notification import default, event, group, listed


def test_each_service_is_answered_as_it_answers() -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with catching() as running:
        slack = running.post("/slack/trading", default("[FIRING:1] EngineCrash (engine-crash critical)"))
        pager = running.post(
            "/pagerduty/oncall/v2/enqueue", event("trigger", firing=listed("EngineCrash/engine-crash"))
        )
        short = running.post("/pagerduty/oncall", event("resolve", resolved=listed("EngineCrash/engine-crash")))
        hook = running.post("/webhook/all", group(("firing", "EngineCrash", "engine-crash")))
        changed = running.post("/pagerduty/oncall/v2/change/enqueue", {"payload": {"summary": "deployed"}})
        found = running.get("/api/notifications")
        status = running.get("/api/status")
        said = running.end()
    assert slack == (200, "ok")
    assert (pager[0], json.loads(pager[1])) == (
        202,
        {"status": "success", "message": "Event processed", "dedup_key": "d"},
    )
    assert (short[0], hook) == (202, (200, "ok"))
    assert (changed[0], json.loads(changed[1])["status"]) == (202, "success")
    assert found["last"] == 5
    told = [(one["n"], one["kind"], one["name"], one["action"], one["alerts"]) for one in found["notifications"]]
    assert told == [
        (1, "slack", "trading", "firing", ["EngineCrash"]),
        (2, "pagerduty", "oncall", "firing", ["EngineCrash"]),
        (3, "pagerduty", "oncall", "resolved", ["EngineCrash"]),
        (4, "webhook", "all", "firing", ["EngineCrash"]),
        (5, "pagerduty", "oncall", "changed", []),
    ]
    times = [one["at"] for one in found["notifications"]]
    assert before < times[0]
    assert times == sorted(times)
    assert (status["received"], status["kept"], status["dropped"], status["last"]) == (5, 5, 0, 5)
    assert "4 firing webhook all: EngineCrash, failure engine-crash: [FIRING:1] EngineCrash\n" in said
    assert said.endswith("5 notifications\n")


def test_what_came_after() -> None:
    with catching("-q") as running:
        assert running.get("/api/notifications") == {"last": 0, "notifications": []}
        for n in range(3):
            running.post("/slack/a", {"text": f"number {n}"})
        assert [one["title"] for one in running.caught(after=1)] == ["number 1", "number 2"]
        assert running.get("/api/notifications?after=3") == {"last": 3, "notifications": []}
        assert running.get("/api/notifications?after=99") == {"last": 3, "notifications": []}
        assert running.call("/api/notifications?after=x")[0] == 400
        assert running.call("/api/notifications?after=-1")[0] == 400
        assert running.end() == "3 notifications\n"


def test_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("kept\n")
    with catching("--keep", "2", "--file", str(file)) as running:
        for n in range(5):
            running.post("/webhook/a", {"title": f"number {n}"})
        assert [one["n"] for one in running.caught()] == [4, 5]
        assert [one["n"] for one in running.caught(after=4)] == [5]
        status = running.get("/api/status")
        assert (status["last"], status["kept"], status["dropped"]) == (5, 2, 3)
        assert running.end().endswith("5 notifications, the latest 2 kept\n")
    first, *lines = file.read_text().splitlines()
    assert first == "kept"
    assert [json.loads(line)["title"] for line in lines] == [f"number {n}" for n in range(5)]


def test_more_than_one_answer_holds() -> None:
    with catching("-q") as running:
        for _ in range(11):  # a group of which some are resolved is two
            running.post("/webhook/a", group(("firing", "A", None), ("resolved", "B", None)))
        with closing(socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))) as wire:
            body = b'{"title": "x"}'
            one = b"POST /webhook/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            answered = 0
            for _ in range(20):
                wire.sendall(one * 50)
                while answered < 50:
                    answered += wire.recv(65536).count(b"HTTP/1.1 200")
                answered -= 50
        first = running.get("/api/notifications")
        second = running.get(f"/api/notifications?after={first['last']}")
        assert (len(first["notifications"]), first["last"]) == (1000, 1000)
        assert (len(second["notifications"]), second["last"]) == (22, 1022)


def test_malformed_and_oversized_are_refused_and_counted() -> None:
    with catching() as running:
        for body in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000, b"[]", b"payload=%7B", b"null"):
            assert running.call("/slack/a", body) == (400, "invalid_payload"), body[:10]
            assert running.call("/webhook/a", body)[0] == 400
            status, told = running.call("/pagerduty/a", body)
            assert (status, json.loads(told)["status"]) == (400, "invalid event")
        assert running.call("/slack/a", b"{}") == (400, "no_text")
        assert running.call("/slack/a", b'{"text": "%s"}' % (b"x" * (1 << 20)))[0] == 413
        assert running.call("/webhook/a", b" " * (2 << 20))[0] == 413
        status = running.get("/api/status")
        assert (status["received"], status["malformed"], status["oversized"], status["last"]) == (0, 25, 2, 0)
        assert running.post("/slack/a", {"text": "still there"}) == (200, "ok")
        said = running.end()
    assert said.count("refused: malformed: /slack/a: ") == 9
    assert "refused: too large: /webhook/a: more than 1048576 bytes\n" in said


def test_a_chunked_body_without_an_end_is_cut_off() -> None:
    with catching("-q") as running:
        with closing(socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))) as wire:
            wire.settimeout(30)
            wire.sendall(b"POST /slack/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            try:
                for _ in range(1000):
                    wire.sendall(chunk)
            except OSError:
                pass
        assert running.get("/api/status")["oversized"] == 1


HEAD = b"POST /slack/a HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (HEAD + b"Content-Length: -5\r\n\r\nhello", "no HTTP: Invalid character in Content-Length: b'"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "no HTTP: "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", "no HTTP: "),
        (HEAD + b"X: " + b"x" * 20_000 + b"\r\n\r\n", "no HTTP: "),
        (HEAD + b"\x1b[2J\r\n\r\n", "no HTTP: "),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "no HTTP: "),
        (b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\nhello\r\n\r\n", "no HTTP: "),
        (HEAD + b"Content-Length: 30\r\n\r\n{}", "/slack/a: the body breaks off"),
    ],
)  # fmt: skip
def test_what_is_no_http_is_one_line_and_counted(sent: bytes, said: str) -> None:
    with catching() as running:
        with closing(socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))) as wire:
            wire.settimeout(30)
            wire.sendall(sent)
            wire.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):  # if it reads no further than it must
                while wire.recv(65536):
                    pass
        status = running.get("/api/status")
        assert (status["received"], status["malformed"], status["last"]) == (0, 1, 0)
        assert running.post("/slack/a", {"text": "still there"}) == (200, "ok")
        first, *rest = running.end().splitlines()
    assert first.startswith(f"refused: malformed: {said}")
    assert first.isprintable()
    assert len(first) < 300
    assert rest == ["1 firing slack a: still there", "1 notifications"]


def test_a_compressed_body_is_not_unpacked() -> None:
    import gzip

    with catching("-q") as running:
        bomb = gzip.compress(b" " * (64 << 20))
        status, _ = running.call("/webhook/a", bomb, {"Content-Encoding": "gzip"})
        assert status == 400


def test_slack_s_form() -> None:
    with catching("-q") as running:
        assert running.call("/slack/a", b"payload=" + quote(json.dumps({"text": "a & b"})).encode()) == (200, "ok")
        assert running.caught()[0]["title"] == "a & b"


@pytest.mark.parametrize(
    "path", ["/slack/", "/slack/a/b", "/slack/a%2Fb", "/slack/%1b", "/slack/" + "a" * 101, "/x", "/"]
)
def test_what_is_no_channel(path: str) -> None:
    with catching() as running:
        assert running.post(path, {"text": "x"})[0] in (404, 405)
        assert running.get("/api/status")["last"] == 0
        assert "\x1b" not in running.end()


def test_browsers_are_not_served() -> None:
    with catching("-q") as running:
        assert running.call("/slack/a", b'{"text": "x"}', {"Origin": "http://evil.example"})[0] == 403
        assert running.call("/api/notifications", headers={"User-Agent": "Mozilla/5.0"})[0] == 403


def test_nothing_hostile_reaches_the_screen() -> None:
    with catching() as running:
        running.post("/slack/a", {"text": "\x1b[2J\r[bold]x[/]\u202e\ud800\nfailure: \x1b]0;x\x07"})
        running.call("/webhook/a", b'{"\x1b[31m')
        said = running.end()
    assert all(line.isprintable() for line in said.splitlines())
    assert "1 firing slack a: \\x1b[2J [bold]x[/]\\u202e\\ud800 failure: \\x1b]0;x\\x07\n" in said


def test_a_screen_that_stands_still_stops_nothing() -> None:
    with catching() as running:
        for n in range(3000):
            running.post("/slack/a", {"text": f"{n} " + "x" * 200})
        assert running.get("/api/status")["last"] == 3000
        said = running.end()
    assert "lines were not shown: they came too fast" in said
    assert said.endswith("3000 notifications\n")


def test_a_port_in_use_names_who_has_it() -> None:
    with catching() as running:
        place = running.url.removeprefix("http://")
        done = subprocess.run([*CATCH, "--listen", place], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"cannot listen on {place}: address already in use by process {running.process.pid} (" in done.stderr
        assert "name another place with --listen" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "x"], "'x' is not host:port"),
        (["--listen", "192.0.2.1:0"], "cannot listen on 192.0.2.1:0: cannot assign requested address; name another"),
        (["--file", "/nowhere/x"], "/nowhere/x can't be written: No such file or directory; name another file"),
        (["--keep", "0"], "Invalid value for '--keep'"),
    ],
)
def test_what_cannot_be(options: list[str], said: str) -> None:
    done = subprocess.run([*CATCH, *options], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
