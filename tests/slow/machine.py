"""A machine with Debian's kernel: control groups of version 2, netem, a Docker Engine of its own. All of it is
emulated, so that it is slow (10 times and more) but needs nothing of the machine below: assert on effects of 50 ms and
more.

    with booted() as machine:
        assert machine.run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "50ms").code == 0
        machine.pytest("tests/unit/test_mechanism_cgroup.py").checked()

This checkout is at /work in it, the packages of this Python at /packages; what it writes is gone with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from tests.infra import docker
from tests.infra.require import absent

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
#: Seconds: to make what is booted, to boot, for a command unless it is told, and to answer when its time is over.
MAKE, BOOT, WAIT, GRACE = 1200, 120, 120.0, 20.0
#: Of this checkout; the rest is of no use in there.
TAKEN = (
    "veloz_chaos",
    "tests",
    "bench",
    "experiments",
    "environments",
    "schedules",
    "docs",
    "pyproject.toml",
    "README.md",
)
#: Of this Python's packages: what is large and checks code rather than runs it.
LEFT_OUT = ("mypy", "mypyc", "ruff", "pip", "setuptools", "grimp", "*__mypyc*")
MEMORY = "2G"


@dataclass(frozen=True)
class Result:
    """`code` is the exit code, negative for a signal, None if the command was killed since its time was over; `output`
    has stdout and stderr."""

    code: int | None
    output: str

    def checked(self) -> str:
        """The output. Raises AssertionError unless the command succeeded."""
        assert self.code == 0, f"exit code {self.code}: {self.output}"
        return self.output


class Broken(Exception):
    """The machine ended, or says nothing any more; with the end of its console."""


class Machine:
    """One that is up. Takes one command at a time."""

    def __init__(self, line: socket.socket, console: Path) -> None:
        self._line, self._console, self._heard = line, console, b""

    def run(
        self, *argv: str, env: Mapping[str, str] = MappingProxyType({}), wait: float = WAIT, stdin: str = ""
    ) -> Result:
        """Without a shell, as root, in /work, for at most `wait` seconds, with `env` in its environment. Raises
        Broken."""
        order = {"argv": argv, "env": dict(env), "cwd": "/work", "stdin": stdin, "wait": wait}
        self._line.sendall(json.dumps(order).encode() + b"\n")
        deadline, said = time.monotonic() + wait + GRACE, list[str]()
        while "code" not in (message := self.hear(deadline)):
            said.append(message["said"])
        return Result(message["code"], "".join(said))

    def sh(self, script: str, **how: Any) -> Result:
        """By the shell."""
        return self.run("sh", "-c", script, **how)

    def pytest(self, *arguments: str, env: Mapping[str, str] = MappingProxyType({}), wait: float = 900.0) -> Result:
        """Runs tests of this checkout inside, files and options as pytest takes them; its engine is theirs."""
        own = ("-p", "no:cacheprovider", "-o", f"timeout={wait:.0f}")
        engine = "unix:///var/run/docker.sock"
        inside = {"VELOZ_CHAOS_MACHINE": "1", "VELOZ_CHAOS_TEST_DOCKER": engine, "DOCKER_HOST": engine}
        return self.run("python3", "-m", "pytest", "-rs", *own, *arguments, wait=wait, env={**inside, **env})

    def docker(self, wait: float = 300.0) -> None:
        """Starts the engine at its usual address, unless it runs, with the images that `booted` was told beside those
        of tests/infra/images.sh. Raises AssertionError, Broken."""
        self.sh(ENGINE, wait=wait).checked()

    def hear(self, deadline: float) -> dict[str, Any]:
        """The next message."""
        while b"\n" not in self._heard:
            self._line.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                heard = self._line.recv(65536)
            except TimeoutError:
                raise Broken(f"it says nothing: {self._last_words()}") from None
            if not heard:
                raise Broken(f"it ended: {self._last_words()}")
            self._heard += heard
        line, _, self._heard = self._heard.partition(b"\n")
        return dict(json.loads(line))

    def _last_words(self) -> str:
        return self._console.read_text(errors="replace")[-2000:]


#: Starts the engine, in a control group as a service has one; its log is /run/dockerd.log.
ENGINE = """
docker version >/dev/null 2>&1 && exit
echo '{}' >/run/docker.json
mkdir -p /sys/fs/cgroup/engine
echo +cpu +cpuset +memory +io +pids >/sys/fs/cgroup/cgroup.subtree_control
echo $$ >/sys/fs/cgroup/engine/cgroup.procs
setsid dockerd --config-file /run/docker.json --exec-opt native.cgroupdriver=cgroupfs --bip 172.29.0.1/24 \\
  >/run/dockerd.log 2>&1 </dev/null &
until docker version >/dev/null 2>&1; do kill -0 $! || { cat /run/dockerd.log; exit 1; }; sleep 0.5; done
[ ! -f images.tar ] || docker load --quiet --input images.tar
"""


@contextmanager
def booted(images: Sequence[str] = (), network: bool = False) -> Iterator[Machine]:
    """A new machine, ended whatever happens. `images`: of the tests' own engine, for the machine's. `network`: whether
    it reaches what this machine reaches. Skips the test where it can't be made, or fails it if REQUIRE names slow.
    Raises Broken."""
    place = made()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vc-vm-")))
        work, packages = folder / "work.tar", _packages(place.parent)
        _pack(work, images)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "line"))
        listener.listen()
        process = subprocess.Popen(
            [*QEMU, "-kernel", place / "kernel", "-initrd", place / "initrd", "-append", BOOT_LINE,
             *_disk(place / "root.ext4", "snapshot=on"), *_disk(work, "readonly=on"), *_disk(packages, "readonly=on"),
             "-chardev", f"socket,id=line,path={folder / 'line'}", "-serial", f"file:{folder / 'console'}",
             "-nic", "user,model=virtio-net-pci" if network else "none"],
            stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.kill)
        listener.settimeout(BOOT)
        line = stack.enter_context(listener.accept()[0])
        machine = Machine(line, folder / "console")
        machine.hear(time.monotonic() + BOOT)
        if network:
            machine.sh(NETWORK).checked()
        yield machine


def made() -> Path:
    """The folder with what is booted."""
    if sys.version_info[:2] != (3, 11):
        absent("slow", "the machine has Python 3.11, for which this Python's packages are not")
    if shutil.which("qemu-system-x86_64") is None:
        absent("slow", "no qemu-system-x86_64; apt-get install qemu-system-x86, see tests/slow/machine.sh")
    address = docker.host()
    if address is None:
        absent(
            "slow", "no engine for tests answers, whose images the machine gets; start it by tests/infra/docker-up.sh"
        )
    done = subprocess.run(
        [HERE / "machine.sh"], env={**os.environ, "DOCKER_HOST": address}, capture_output=True, text=True, timeout=MAKE
    )
    if done.returncode:
        absent("slow", f"it can't be made: {done.stderr.strip()}")
    return Path(done.stdout.strip())


QEMU = (
    "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", MEMORY,
    "-nodefaults", "-display", "none", "-no-reboot", "-rtc", "base=utc",
    "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=line,name=line",
)  # fmt: skip
BOOT_LINE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off cgroup_no_v1=all"
#: As the user-mode network of QEMU has it.
NETWORK = """
ip link set eth0 up && ip address add 10.0.2.15/24 dev eth0 && ip route add default via 10.0.2.2
echo nameserver 10.0.2.3 >/etc/resolv.conf
"""


def _disk(file: Path, how: str) -> list[str]:
    return ["-drive", f"file={file},format=raw,if=virtio,cache=unsafe,{how}"]


def _pack(into: Path, images: Sequence[str]) -> None:
    with tarfile.open(into, "w") as archive:
        for name in TAKEN:
            archive.add(ROOT / name, name)
        if images:
            with tempfile.TemporaryFile(dir=into.parent) as saved:
                _save(images, saved)
                entry = tarfile.TarInfo("images.tar")
                entry.size = saved.tell()
                saved.seek(0)
                archive.addfile(entry, saved)


def _save(images: Sequence[str], into: IO[bytes]) -> None:
    command = ["docker", "save", *images]
    subprocess.run(command, check=True, stdout=into, env={**os.environ, "DOCKER_HOST": docker.host() or ""})
    into.seek(0, os.SEEK_END)


def _packages(folder: Path) -> Path:
    """A file system with this Python's packages, made when they change."""
    source = Path(sysconfig.get_path("purelib"))
    key = hashlib.sha256("\n".join(sorted(one.name for one in source.glob("*.dist-info"))).encode()).hexdigest()[:16]
    file = folder / f"packages-{key}.ext4"
    if not file.exists():
        for old in folder.glob("packages-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=folder) as copy:
            shutil.copytree(
                source, Path(copy) / "all", ignore=shutil.ignore_patterns(*LEFT_OUT, "*.pth"), symlinks=True
            )
            part = file.with_suffix(".part")
            command: list[str | Path] = [
                "mke2fs",
                "-q",
                "-t",
                "ext4",
                "-O",
                "^has_journal",
                "-d",
                f"{copy}/all",
                part,
                "1G",
            ]
            subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": PATH})
            part.rename(file)
    return file


PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
