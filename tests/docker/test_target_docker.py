"""Containers on a real engine: what restarts, what is left, and what is said when it cannot be done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.conformance.pairs import until as effect
from tests.docker.conftest import Create
from tests.infra import certificates, containers, relay
from tests.infra.containers import until
from tests.infra.toxiproxy import free_port
from veloz_chaos.core.capability import Reference
from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.faults.cpu import Cpu
from veloz_chaos.faults.disk import Disk
from veloz_chaos.faults.kill import Kill
from veloz_chaos.faults.memory import Memory
from veloz_chaos.faults.out_of_memory import OutOfMemory
from veloz_chaos.faults.pause import Pause
from veloz_chaos.mechanisms import docker_api, helper_container, helper_image
from veloz_chaos.mechanisms.docker_api import Place
from veloz_chaos.targets import docker

pytestmark = pytest.mark.docker

SIGN = f"vc-docker-{os.getpid()}"
LONG = timedelta(seconds=60)
LIMITS: dict[str, Any] = {"mem_limit": "96m", "nano_cpus": 600_000_000, "tmpfs": {"/logs": "size=4m"}}
ALWAYS: dict[str, Any] = {"restart_policy": {"Name": "always"}}
HELD: tuple[Any, ...] = (Cpu(), Memory(), Disk(volume="logs"))
#: Long before a fault's own expiry: seconds in which it ends once whatever held it has, on a busy machine too.
SOON = 30.0

#: Injects in a process of its own.
RUNNER = """
import json, sys
from veloz_chaos.core.capability import Reference
from veloz_chaos.registry import Registry
reference, name, arguments, receipt = json.loads(sys.argv[1])
fault = Registry().fault(name)(**arguments)
fault.inject(Registry().backend("docker").reopen(Reference(**reference)), receipt)
print("injected", flush=True)
sys.stdin.read()
"""


def of(container: str, **more: Any) -> Any:
    return find(name=state(container)["Name"].lstrip("/"), **more)[0]


def find(**said: Any) -> list[Any]:
    return docker.find("it", TypeAdapter(docker.Selector).validate_python(said))


def with_logs(container: str, **more: Any) -> Any:
    return of(container, volumes={"logs": {"path": "/logs"}}, **more)


def state(container: str) -> dict[str, Any]:
    return dict(containers.engine().inspect_container(container))


def restarted(container: str, times: int) -> bool:
    """And runs; what waits to be restarted is called running as well."""
    told = state(container)
    return bool(told["RestartCount"] == times and told["State"]["Running"] and not told["State"]["Restarting"])


def strains(container: str) -> list[str]:
    """Command lines of what strains it, by the engine's word."""
    helpers = [one["Id"] for one in helper_container.find(containers.engine(), target=container)]
    found = []
    for one in (container, *helpers):
        with suppress(Exception):  # a helper that has just gone
            found += [line for line in containers.running(one) if ".strain " in line]
    return found


def helpers(container: str) -> list[str]:
    return [one["Id"] for one in helper_container.find(containers.engine(), target=container)]


@contextmanager
def injected(fault: Any, target: Any, receipt: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """By another process, which still lives."""
    arguments = {"volume": "logs"} if isinstance(fault, Disk) else {}
    text = json.dumps([target.reference.model_dump(), type(fault).__name__.lower(), arguments, receipt])
    command = [sys.executable, "-c", RUNNER, text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as runner:
        assert runner.stdout
        assert runner.stdout.readline() == b"injected\n"
        try:
            yield runner
        finally:
            runner.kill()


def test_an_engine_tells_which_one_it_is() -> None:
    told = str(containers.engine().info()["ID"])
    assert docker.system(docker.Selector(name="any")) == {"docker-id": told}


# --- kill, pause, out of memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_the_restart_policy_acts(name: str, create: Create) -> None:
    container = create(**ALWAYS)
    target, before = of(container), state(container)["RestartCount"]
    fault = Kill(signal=name)  # type: ignore[arg-type]
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    effect(fault, target, receipt, shown=True)
    until(lambda: restarted(container, before + 1))
    assert not target.alive()
    assert of(container).alive()
    with pytest.raises(Gone, match=r"restarted at .*, exit code"):
        docker.reopen(target.reference)


@pytest.mark.parametrize(("how", "told"), [(ALWAYS, "its restart policy starts it"), ({}, "it has no restart policy")])
def test_who_starts_it_again_is_told_by_its_restart_policy(how: dict[str, Any], told: str, create: Create) -> None:
    (offer,) = (offer for offer in of(create(**how)).offered() if offer.capability == "Killable")
    assert told in offer.undo


def test_a_kill_is_over_when_it_returns(create: Create) -> None:
    container = create()
    target = of(container)
    target.arm(SIGN)
    pid = state(container)["State"]["Pid"]
    target.kill("KILL")
    with suppress(FileNotFoundError, ProcessLookupError):  # reaped, perhaps as we look
        assert "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_signal_that_the_kernel_would_drop_is_refused(create: Create) -> None:
    target = of(create(command=["python3", "-c", "import time; print('ready', flush=True); time.sleep(600)"]))
    with pytest.raises(TargetError, match="init: true"):
        target.kill("TERM")
    assert target.alive()


def test_a_real_oom_kill(create: Create) -> None:
    """The engine forgets that it was for memory where its two events, oom and exit, overtake each other: seldom."""
    assert any(killed_for_memory(create) for _ in range(3))


def killed_for_memory(create: Create) -> bool:
    """By the engine's word; it dies of it in any case."""
    container = create(**LIMITS)
    target, fault = of(container), OutOfMemory(ramp=timedelta(milliseconds=300))
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    assert "dead; the kernel counts" in effect(fault, target, receipt, shown=True)
    until(lambda: not state(container)["State"]["Running"])
    assert state(container)["State"]["ExitCode"] == 137
    with pytest.raises(Gone) as gone:
        target.memory_use()
    until(lambda: not helpers(container))
    return bool(state(container)["State"]["OOMKilled"]) and "OOMKilled" in str(gone.value)


def test_an_oom_kill_is_told_also_after_the_restart(create: Create) -> None:
    container = create(**LIMITS, **ALWAYS)
    target = of(container)
    target.exhaust(SIGN, timedelta(0), LONG)
    until(lambda: restarted(container, 1))
    with pytest.raises(Gone, match=r"restarted at .*, exit code 137, killed for memory \(OOMKilled\)"):
        docker.reopen(target.reference)
    assert docker.Container(target.reference).oom_kills() > 0  # type: ignore[operator]


def test_pause_and_the_command_by_hand(create: Create) -> None:
    container = create()
    target, fault = of(container), Pause()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    assert state(container)["State"]["Paused"]
    assert "is paused" in target.leftovers()[0]
    subprocess.run(fault.by_hand("", receipt), shell=True, check=True, stdout=subprocess.DEVNULL)
    assert fault.in_place(target, receipt).shown is False


class Late(docker.Container):
    """As the Engine was seen to answer: once more what was true before."""

    late = True

    def paused(self) -> bool:
        late, self.late = self.late, False
        return super().paused() is not late


def test_an_engine_that_says_once_more_what_was_before(create: Create) -> None:
    container = create()
    Late(of(container).reference).resume()
    assert not state(container)["State"]["Paused"]
    of(container).pause()
    Late(of(container).reference).pause()
    assert state(container)["State"]["Paused"]
    of(container).resume()


# --- who dies, and what is left ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", HELD, ids=["cpu", "memory", "disk"])
def test_the_runner_is_killed_and_nothing_is_left(fault: Any, create: Create) -> None:
    container = create(**LIMITS)
    target = with_logs(container)
    receipt = fault.prepare(target, SIGN)
    target.beside.relieve(SIGN)
    with injected(fault, target, receipt) as runner:
        effect(fault, target, receipt, shown=True)
        assert any(SIGN in words for words in target.leftovers())
        runner.kill()
        until(lambda: not strains(container), SOON)
    effect(fault, target, receipt, shown=False)
    assert target.leftovers() == []


@pytest.mark.parametrize("fault", HELD, ids=["cpu", "memory", "disk"])
def test_the_helper_is_killed_and_nothing_is_left(fault: Any, create: Create) -> None:
    container = create(**LIMITS)
    target = with_logs(container)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    effect(fault, target, receipt, shown=True)
    for one in helpers(container):
        helper_container.remove(containers.engine(), one)
    until(lambda: not strains(container), SOON)
    effect(fault, target, receipt, shown=False)


def test_another_process_reverts_what_a_living_runner_holds(create: Create) -> None:
    target, fault = with_logs(create(**LIMITS)), Cpu()
    receipt = fault.prepare(target, SIGN)
    with injected(fault, target, receipt):
        effect(fault, target, receipt, shown=True)
        begun = time.monotonic()
        fault.revert(target, receipt)
        assert time.monotonic() - begun < SOON
        assert fault.in_place(target, receipt).shown is False


@pytest.mark.parametrize("fault", HELD, ids=["cpu", "memory", "disk"])
def test_the_command_by_hand(fault: Any, create: Create) -> None:
    container = create(**LIMITS)
    target = with_logs(container)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    effect(fault, target, receipt, shown=True)
    subprocess.run(fault.by_hand("", receipt), shell=True, check=True, stdout=subprocess.DEVNULL)
    until(lambda: not strains(container), SOON)
    effect(fault, target, receipt, shown=False)


def test_a_helper_ends_by_its_own_expiry(create: Create) -> None:
    container = create(**LIMITS)
    target = of(container)
    target.saturate(SIGN, 1.0, timedelta(seconds=10))
    until(lambda: strains(container))
    until(lambda: not helpers(container), 10 + SOON)
    assert target.leftovers() == []


@pytest.mark.parametrize("fault", HELD, ids=["cpu", "memory", "disk"])
def test_a_container_removed_under_a_fault(fault: Any, create: Create) -> None:
    container = create(**LIMITS)
    target = with_logs(container)
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    containers.engine().remove_container(container, force=True)
    with pytest.raises(Gone):
        fault.in_place(target, receipt)
    fault.revert(target, receipt)
    until(lambda: not helpers(container), SOON)


def test_a_restart_under_a_fault_is_told(create: Create) -> None:
    container = create(**LIMITS)
    target, fault = of(container), Cpu()
    receipt = fault.prepare(target, SIGN)
    fault.inject(target, receipt)
    containers.engine().restart(container, timeout=0)
    with pytest.raises(Gone, match="restarted at"):
        fault.in_place(target, receipt)
    fault.revert(target, receipt)
    assert strains(container) == []


# --- processes inside ----------------------------------------------------------------------------------------------


def test_a_process_inside_is_killed_alone(create: Create) -> None:
    container = create(command=["python3", "-c", containers.PARENT, containers.SERVICE])
    parent, target = of(container), there(container, "veloz_engine$")
    target.kill("TERM")
    until(lambda: not target.alive())
    assert there(container, "veloz_engine$").reference != target.reference
    assert parent.alive()


def there(container: str, process: str) -> Any:
    """That one, once it is there: between the death of one and the start of the next there is none."""
    found: list[Any] = []

    def comes() -> bool:
        with suppress(Missing):
            found.append(of(container, process=process))
        return bool(found)

    until(comes)
    return found[0]


def test_a_stopped_process_and_the_command_by_hand(create: Create) -> None:
    target = of(create(), process="^python3 -c")
    target.pause()
    assert target.paused()
    assert "is stopped" in target.leftovers()[0]
    subprocess.run(target.by_hand("Pausable", SIGN), shell=True, check=True)
    assert not target.paused()


def test_a_process_that_is_not_there(create: Create) -> None:
    container = create()
    with pytest.raises(
        Missing, match=r"no process has a command line like /veloz_engine/ in .*; there run: 'python3 -c"
    ):
        of(container, process="veloz_engine")


# --- what cannot be done, and why ----------------------------------------------------------------------------------


def test_a_container_without_limits_says_which_keys_to_write(create: Create) -> None:
    target = of(create())
    assert set(target.lacks) == {"Saturable", "Pressable", "Exhaustible", "Fillable"}
    assert {offer.capability for offer in target.offered()} == {"Killable", "Pausable"}
    with pytest.raises(TargetError, match="mem_limit"):
        target.press(SIGN, 0.9, LONG)
    with pytest.raises(TargetError, match="cpus"):
        target.saturate(SIGN, 1.0, LONG)
    assert target.leftovers() == []


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("/", {}, "root file system"),
        ("/usr", {}, "root file system"),
        ("/data", {"binds": ["/:/data"]}, "others use too"),
        ("/data", {"binds": ["/tmp:/data"]}, "others use too"),
        ("/etc/hostname", {}, "no folder"),
    ],
)
def test_what_is_not_the_containers_own_is_never_filled(
    path: str, options: dict[str, Any], words: str, create: Create
) -> None:
    target = of(create(**options), volumes={"it": {"path": path}})
    with pytest.raises(TargetError, match=words):
        target.room(SIGN, "it")
    with pytest.raises(TargetError, match=words):
        target.fill(SIGN, "it", 0, LONG)


def test_a_selector_that_matches_nothing_names_what_is_there(create: Create) -> None:
    labels = {docker_api.PROJECT: SIGN, docker_api.SERVICE: "gateway"}
    container = create(labels=labels)
    with pytest.raises(Missing, match=rf"is engine of the project {SIGN}; running are: .*service gateway"):
        find(project=SIGN, service="engine")
    containers.engine().stop(container, timeout=0)
    with pytest.raises(Missing, match=r"does not run: vc-test-.*Exited.*; start it"):
        find(project=SIGN, service="gateway")


def test_every_replica_is_found_and_no_one_off(create: Create) -> None:
    labels = {docker_api.PROJECT: SIGN, docker_api.SERVICE: "worker"}
    both = [create(labels=labels) for _ in range(2)]
    create(labels={**labels, docker_api.ONE_OFF: "True"})
    assert [one.reference.identity["id"] for one in find(project=SIGN, service="worker")] == both


def test_a_name_that_is_somebody_elses(create: Create) -> None:
    target, theirs = of(create()), create()
    name = state(theirs)["Name"].lstrip("/")
    with pytest.raises(TargetError, match=f"named {name} is there, and is somebody else's"):
        target.beside.start(SIGN, name)
    assert state(theirs)["State"]["Running"]


def test_a_helper_image_that_is_named_and_not_there(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    target = of(create())
    monkeypatch.setenv(helper_image.NAMED, "nobody/has-it:1")
    with pytest.raises(Unavailable, match=r"nobody/has-it:1 .*is not there; `docker pull"):
        target.kill("KILL")
    assert target.alive()


def test_a_helper_image_that_cannot_be_built(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    target = of(create())
    recipe = {helper_image.RECIPE: b"FROM scratch\nCOPY missing /\n"}
    monkeypatch.setattr(helper_image, "content", lambda: recipe)
    monkeypatch.setattr(helper_image, "tag", lambda: "veloz-chaos-helper:unbuildable")
    with pytest.raises(Unavailable, match=r"cannot be built: .*missing.*VELOZ_CHAOS_HELPER_IMAGE"):
        target.kill("KILL")
    assert target.alive()


# --- the way to the engine -----------------------------------------------------------------------------------------


def socket_of_the_engine() -> str:
    host = docker_api.endpoint(Place()).host
    if not host.startswith("unix://"):
        pytest.skip("docker: the engine is not behind a socket of this machine")
    return host.removeprefix("unix://")


@contextmanager
def relayed(listen: str, *files: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(Path(relay.__file__)), listen, socket_of_the_engine(), *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_engine_goes_away_under_a_fault_and_comes_back(create: Create, tmp_path: Path) -> None:
    container, listen = create(**LIMITS), str(tmp_path / "engine.sock")
    with relayed(listen) as way:
        target, fault = of(container, host=f"unix://{listen}"), Cpu()
        receipt = fault.prepare(target, SIGN)
        fault.inject(target, receipt)
        effect(fault, target, receipt, shown=True)
        way.kill()
        way.wait()
        with pytest.raises(Unavailable, match=f"no Docker Engine answers at unix://{listen}"):
            fault.revert(target, receipt)
        until(lambda: not strains(container) and not helpers(container), SOON)
        Path(listen).unlink()
    with relayed(listen):
        fault.revert(target, receipt)
        assert fault.in_place(target, receipt).shown is False


def test_an_engine_that_hangs_is_told_in_time(create: Create, tmp_path: Path) -> None:
    container, listen = create(), str(tmp_path / "engine.sock")
    with relayed(listen) as way:
        target = of(container, host=f"unix://{listen}")
        helper = target.beside.obtain(SIGN)
        way.send_signal(signal.SIGSTOP)
        with pytest.raises(Unavailable, match=r"has not answered within 0\.3 s"):
            helper.call("ping", patience=0.3)
        way.send_signal(signal.SIGCONT)
        assert helper.call("ping")


def test_by_tls_with_certificates(create: Create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container, port = create(**LIMITS), free_port()
    made = certificates.make(tmp_path)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(made))
    with relayed(str(port), *(str(made / f"{name}.pem") for name in ("cert", "key", "ca"))):
        target, fault = of(container, host=f"tcp://127.0.0.1:{port}"), Cpu()
        receipt = fault.prepare(target, SIGN)
        fault.inject(target, receipt)
        effect(fault, target, receipt, shown=True)
        fault.revert(target, receipt)
        effect(fault, target, receipt, shown=False)
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "none"))
        with pytest.raises(Unavailable, match="TLS"):
            docker_api.client(Place(host=f"tcp://localhost:{port}"))


def test_no_engine() -> None:
    with pytest.raises(Unavailable, match="no Docker Engine answers at unix:///nobody/is/there"):
        find(name="x", host="unix:///nobody/is/there")


def test_no_permission(tmp_path: Path) -> None:
    """As another user than the socket's; permissions are the effective user's."""
    if os.geteuid() != 0:
        pytest.skip("root: nobody else can be asked for")
    link = tmp_path / "engine.sock"
    link.symlink_to(socket_of_the_engine())
    os.seteuid(65534)
    try:
        with pytest.raises(Unavailable, match="add yourself to the group docker"):
            find(name="x", host=f"unix://{link}")
    finally:
        os.seteuid(0)


def test_a_reference_survives_a_journal(create: Create) -> None:
    target = with_logs(create(**LIMITS))
    again = docker.reopen(Reference.model_validate_json(target.reference.model_dump_json()))
    assert again.volumes == {"logs": "/logs"}
    assert str(again.reference).startswith("docker:container=vc-test-")
