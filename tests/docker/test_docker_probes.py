"""Containers, their logs and files, seen through a real engine."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from tests.docker.engine import HUNGRY, Lab, by_tcp, docker
from veloz_chaos.core import condition
from veloz_chaos.core.probe import Eye, Probe, Seen
from veloz_chaos.errors import TargetError, UsageError
from veloz_chaos.registry import Registry

pytestmark = pytest.mark.docker
EYE = Eye(timedelta(seconds=10), str)
IDLE = "import time; time.sleep(600)"
T = TypeVar("T")


def made(kind: str, **keys: Any) -> Any:
    return Registry().probe(kind).__pydantic_validator__.validate_python(keys)  # type: ignore[attr-defined]


async def until(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = 60) -> T:
    end = time.monotonic() + seconds
    while not wanted(seen := await look()):
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.05)
    return seen


def with_probe(probe: Any, test: Callable[[Any], Awaitable[T]]) -> T:
    async def whole() -> T:
        await probe.open(EYE)
        try:
            return await test(probe)
        finally:
            await probe.close()

    return asyncio.run(whole())


def looked(kind: str, **keys: Any) -> Seen:
    async def look(probe: Probe) -> Seen:
        return await probe.look(EYE)

    return with_probe(made(kind, **keys), look)


def holds(probe: type[Probe], seen: Seen) -> bool:
    said = {"json": seen.json, "status": seen.status, "error": seen.error, "value": seen.value, "text": seen.text}
    return condition.compile(probe.default_ok, condition.LOOK_VARIABLES).holds(said | {"headers": {}})


# --- docker --------------------------------------------------------------------------------------------------------


def test_a_container_that_runs(lab: Lab) -> None:
    name = lab.run(IDLE)
    seen = looked("docker", name=name)
    started = lab.inspect(name)["State"]["StartedAt"]
    assert seen.json == seen.value == {
        "state": "running", "running": True, "paused": False, "health": "", "restarts": 0, "exit_code": 0,
        "oom_killed": False, "started": started, "count": 1,
    }  # fmt: skip
    assert (seen.status, seen.error) == (1, "")
    assert holds(Registry().probe("docker"), seen)


def test_each_way_to_select_finds_it_and_a_part_of_a_name_does_not(lab: Lab) -> None:
    compose = ("com.docker.compose.project=vct", "com.docker.compose.service=one")
    name = lab.run(IDLE, *(word for label in compose for word in ("--label", label)))
    for keys in ({"label": lab.label}, {"project": "vct", "service": "one"}):
        assert looked("docker", **keys).json["count"] == 1
    for keys in ({"name": name[:-1]}, {"name": lab.inspect(name)["Id"][:12]}, {"label": "vct=none"}):
        assert looked("docker", **keys).error == "missing"
    assert not holds(Registry().probe("docker"), looked("docker", name="vct-none"))


def test_our_helpers_are_no_containers_of_the_service(lab: Lab) -> None:
    lab.run(IDLE, "--label", "veloz-chaos.sign=vc-1")
    assert looked("docker", label=lab.label).error == "missing"


def test_paused_exited_and_out_of_memory_are_told(lab: Lab) -> None:
    name = lab.run(IDLE)
    docker("pause", name)
    seen = looked("docker", name=name)
    assert (seen.json["state"], seen.json["running"], seen.json["paused"]) == ("paused", True, True)
    assert not holds(Registry().probe("docker"), seen)
    docker("unpause", name)
    lab.kill(name)
    docker("wait", name)
    seen = looked("docker", name=name)
    assert (seen.json["state"], seen.json["running"], seen.json["exit_code"]) == ("exited", False, 137)
    eater = lab.run(HUNGRY, "-m", "40m")
    lab.await_word(eater, "ready")
    lab.kill(eater, 10)
    lab.await_oom(eater)
    lab.kill(eater)
    docker("wait", eater)
    assert looked("docker", name=eater).json["oom_killed"]


def test_restarts_are_counted_and_a_later_start_is_seen(lab: Lab) -> None:
    name = lab.run(IDLE, "--restart", "always")

    async def test(probe: Any) -> None:
        before = (await probe.look(EYE)).json
        lab.kill(name)
        after = (await until(lambda: probe.look(EYE), lambda seen: seen.json["restarts"] and seen.json["running"])).json
        assert after["restarts"] == 1
        assert after["started"] > before["started"]

    with_probe(made("docker", name=name), test)


def test_health_is_the_engine_s_word(lab: Lab) -> None:
    check = ("--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1")
    name = lab.run("open('/tmp/well', 'w').close()\n" + IDLE, *check)

    async def test(probe: Any) -> None:
        await until(lambda: probe.look(EYE), lambda seen: seen.json["health"] == "healthy")
        docker("exec", name, "rm", "/tmp/well")
        seen = await until(lambda: probe.look(EYE), lambda seen: seen.json["health"] == "unhealthy")
        assert not holds(Registry().probe("docker"), seen)

    with_probe(made("docker", name=name), test)


def test_of_several_the_worst_is_told(lab: Lab) -> None:
    well, ill = lab.run(IDLE), lab.run(IDLE)
    lab.kill(ill)
    docker("wait", ill)
    seen = looked("docker", label=lab.label)
    assert (seen.json["count"], seen.json["state"], seen.json["exit_code"]) == (2, "exited", 137)
    assert seen.json["started"] == max(lab.inspect(name)["State"]["StartedAt"] for name in (well, ill))


def test_a_look_is_fast_enough_for_ten_a_second(lab: Lab) -> None:
    name = lab.run(IDLE)

    async def test(probe: Any) -> list[float]:
        took = []
        for _ in range(100):
            before = time.process_time()
            await probe.look(EYE)
            took.append(time.process_time() - before)
        return took

    for keys in ({"name": name}, {"label": lab.label}):
        assert statistics.median(with_probe(made("docker", **keys), test)) < 0.01


def test_an_engine_that_is_not_there_is_the_error(tmp_path: Path) -> None:
    gone = looked("docker", name="a", host=f"unix://{tmp_path}/none.sock")
    assert (gone.status, gone.error) == (0, f"no engine at unix://{tmp_path}/none.sock: refused")
    for ok in ("!json.running", "json.count == 0", "json.health != 'healthy'"):
        assert not condition.compile(ok, condition.LOOK_VARIABLES).holds({"json": gone.json}), ok
    with pytest.raises(UsageError, match="forward its socket"):
        looked("docker", name="a", host="ssh://somewhere")
    with pytest.raises(UsageError, match="there is no Docker context nowhere"):
        looked("docker", name="a", context="nowhere")


@pytest.mark.parametrize(
    "keys",
    [{}, {"name": "a", "label": "b"}, {"project": "a"}, {"service": "a"}, {"name": "a", "host": "b", "context": "c"}],
)
def test_a_selector_is_exactly_one(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        made("docker", **keys)


def test_an_engine_is_reached_by_tcp(lab: Lab) -> None:
    name = lab.run(IDLE)
    with by_tcp() as door:
        assert looked("docker", name=name, host=door.host).json["running"]


# --- log -----------------------------------------------------------------------------------------------------------

#: Writes a numbered line every few milliseconds, some to stderr, and goes on numbering after a restart.
WRITER = """
import os, sys, time
n = int(open('/n/n').read()) if os.path.exists('/n/n') else 0
while True:
    n += 1
    with open('/n/m', 'w') as f:
        f.write(str(n))
    os.replace('/n/m', '/n/n')
    print(f'line {n}.', file=sys.stderr if n % 3 == 0 else sys.stdout, flush=True)
    time.sleep(0.002)
"""


FAREWELL = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
print('ready')
signal.sigwait([15])
print('farewell')
"""
#: Two files and a link, on two volumes and in the image's own layer.
FILES = """
import os
for path in ('/small/a', '/own/a', '/root/a'):
    open(path, 'w').write('x' * 1234)
os.symlink('a', '/root/l')
print('ok')
"""
#: Writes its file at first and at each signal.
AT_A_SIGNAL = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [10])
while True:
    open('/root/a', 'w').write('x')
    signal.sigwait([10])
"""


def numbers(name: str) -> list[str]:
    """The engine's own copy of both streams."""
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("line ")]


@pytest.mark.parametrize("tty", [False, True])
def test_over_restarts_no_line_is_lost_and_none_comes_twice(lab: Lab, tty: bool) -> None:
    name = lab.run(WRITER, "--restart", "always", "-v", "/n", *(["-t"] if tty else []))

    async def test(probe: Any) -> None:
        for _ in range(2):
            seen = await until(lambda: probe.look(EYE), lambda seen: seen.value > 300)
            lab.kill(name)
            more = seen.value + 100
            await until(lambda: probe.look(EYE), lambda seen, more=more: seen.value > more)  # type: ignore[misc]
        docker("stop", "-t", "0", name)
        seen = await until(lambda: probe.look(EYE), lambda seen: seen.value >= len(numbers(name)))
        assert seen.value == len(numbers(name))
        assert seen.value == len(set(numbers(name)))

    with_probe(made("log", docker={"name": name}, match=r"line \d+\.", previous=True), test)


def test_what_was_there_before_does_not_count_and_what_is_made_anew_does(lab: Lab) -> None:
    first = lab.run(f"print('seen before')\n{IDLE}")
    lab.await_word(first, "seen before")

    async def test(probe: Any) -> None:
        assert (await probe.look(EYE)).value == 0
        docker("rm", "-f", first)
        assert (await probe.look(EYE)).error == "missing"
        lab.run(f"print('seen anew')\n{IDLE}")
        seen = await until(lambda: probe.look(EYE), lambda seen: seen.status == 1 and not seen.error)
        assert (seen.value, seen.text, seen.error) == (1, "seen anew", "")

    with_probe(made("log", docker={"label": lab.label}, match="seen"), test)


def test_the_last_words_of_a_container_that_is_removed_at_once_are_had(lab: Lab) -> None:
    name = lab.run(FAREWELL, "--rm")

    async def test(probe: Any) -> None:
        await until(lambda: asyncio.sleep(0, docker("logs", name)), lambda text: "ready" in text)
        await asyncio.to_thread(docker, "kill", "-s", "TERM", name)
        await until(
            lambda: asyncio.sleep(0, name in docker("ps", "-a", "--format", "{{.Names}}")), lambda there: not there
        )
        await until(lambda: probe.look(EYE), lambda seen: seen.text == "farewell")

    with_probe(made("log", docker={"name": name}, match="farewell"), test)


@pytest.mark.parametrize("before", [None, "struck"])
def test_before_struck_only_what_was_there_by_then_counts(lab: Lab, before: str | None) -> None:
    code = "import signal\nfor n in range(2):\n  signal.sigwait([10])\n  print('word', n)\n" + IDLE
    name = lab.run(f"import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [10])\nprint('ready')\n{code}")
    keys = {"before": before} if before else {}

    async def test(probe: Any) -> None:
        for n, expected in ((1, 1), (2, 1 if before else 2)):
            lab.kill(name, 10)
            await until(lambda: asyncio.sleep(0, docker("logs", name)), lambda text, n=n: text.count("word") == n)  # type: ignore[misc]
            if n == 1:
                probe.struck()
            assert (await probe.look(EYE)).value == expected
        await asyncio.sleep(0.3)
        assert (await probe.look(EYE)).value == (1 if before else 2)

    async def ready(probe: Any) -> None:
        await until(lambda: asyncio.sleep(0, docker("logs", name)), lambda text: "ready" in text)
        await test(probe)

    with_probe(made("log", docker={"name": name}, match="word", **keys), ready)


def test_a_line_of_many_parts_is_one_and_more_than_one_read_of_them_is_read(lab: Lab) -> None:
    name = lab.run("for n in range(3500): print('short', n)\nprint('x' * 100_000 + ' end')\n" + IDLE)

    async def test(probe: Any) -> None:
        seen = await until(lambda: probe.look(EYE), lambda seen: seen.value >= 3501)
        assert (seen.value, len(seen.text)) == (3501, 100_004)

    with_probe(made("log", docker={"name": name}, match="^short|end$", previous=True), test)


def test_a_log_that_the_engine_does_not_keep_is_the_error(lab: Lab) -> None:
    name = lab.run(IDLE, "--log-driver", "none")
    with pytest.raises(TargetError, match="does not support reading"):
        looked("log", docker={"name": name}, match="a")


@pytest.mark.parametrize("keys", [{}, {"path": "a", "docker": {"name": "a"}}])
def test_a_log_is_a_file_s_or_containers(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of path, docker and kubernetes"):
        made("log", match="a", **keys)


# --- file ----------------------------------------------------------------------------------------------------------


def test_a_file_inside_is_seen_without_a_shell_and_in_its_volumes(lab: Lab) -> None:
    volume = lab.name()
    small = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=4m")
    docker("volume", "create", "--label", lab.label, "--driver", "local", *small, volume)
    name = lab.run(FILES + IDLE, "-v", f"{volume}:/small", "-v", "/own")

    async def ready(probe: Any) -> Seen:
        await until(lambda: asyncio.sleep(0, docker("logs", name)), lambda text: "ok" in text)
        return await probe.look(EYE)  # type: ignore[no-any-return]

    for path in ("/small/a", "/own/a", "/root/a", "/root/l"):
        seen = with_probe(made("file", docker={"name": name}, path=path), ready)
        assert (seen.status, seen.value, seen.error) == (1, 1234, ""), path
        assert (seen.json["exists"], seen.json["free_bytes"]) == (True, None)
        assert 0 <= seen.json["age_ms"] < 30_000
    for keys in ({"path": "/root/none"}, {"docker": {"name": "vct-none"}}):
        seen = looked("file", **({"docker": {"name": name}, "path": "/root/a"} | keys))
        assert (seen.status, seen.error, seen.json["exists"]) == (0, "missing", False)


def test_the_age_of_a_file_is_an_upper_bound_by_our_clock(lab: Lab) -> None:
    name = lab.run(AT_A_SIGNAL)

    async def test(probe: Any) -> None:
        await until(lambda: probe.look(EYE), lambda seen: seen.status == 1)
        await asyncio.sleep(1.5)
        old = (await probe.look(EYE)).json["age_ms"]
        assert old >= 1500
        before = time.monotonic()
        lab.kill(name, 10)
        new = await until(lambda: probe.look(EYE), lambda seen: seen.json["age_ms"] < old)
        assert new.json["age_ms"] <= (time.monotonic() - before) * 1000 + 2000
        written = time.monotonic()
        await asyncio.sleep(0.5)
        assert (await probe.look(EYE)).json["age_ms"] >= (time.monotonic() - written) * 1000

    with_probe(made("file", docker={"name": name}, path="/root/a"), test)


def test_a_path_inside_begins_at_the_root() -> None:
    with pytest.raises(ValidationError, match="begins with /"):
        made("file", docker={"name": "a"}, path="logs/a")


def test_what_is_seen_is_json(lab: Lab) -> None:
    assert json.dumps(looked("docker", name=lab.run(IDLE)).json)
