"""Two network namespaces with a wire between them: `far` serves, the test itself enters `near`."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SERVER = """
import socket, sys, threading
def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()
def talk(connection):
    try:
        for line in connection.makefile("rb"):
            if line.startswith(b"GET "):
                connection.sendall(bytes(int(line.split()[1])) + b"\\n")
            elif line.strip() == b"PING":
                connection.sendall(b"PONG\\n")
    except OSError:
        pass
four = socket.create_server(("0.0.0.0", 7000), backlog=256)
six = socket.create_server(("::", 7000), family=socket.AF_INET6, backlog=256)
threading.Thread(target=serve, args=(four,), daemon=True).start()
print("ready", flush=True)
serve(six)
"""


@dataclass(frozen=True)
class Far:
    four: str = "10.199.7.2"
    six: str = "fd00:199:7::2"
    port: int = 7000


def name(end: str) -> str:
    return f"vc-test-{os.getpid()}-{end}"


def enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def near() -> Iterator[Far]:
    """This thread, and whatever it starts, is in a namespace of its own with a server at the other end of its wire."""
    names = [name(end) for end in ("near", "far")]
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    server = None
    try:
        for one in names:
            _ip("netns", "add", one)
        _ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for number, one in enumerate(names, 1):
            _ip("-n", one, "addr", "add", f"10.199.7.{number}/24", "dev", "eth0")
            _ip("-n", one, "-6", "addr", "add", f"fd00:199:7::{number}/64", "dev", "eth0", "nodad")
            _ip("-n", one, "link", "set", "lo", "up")
            _ip("-n", one, "link", "set", "eth0", "up")
        command = ["ip", "netns", "exec", names[1], sys.executable, "-c", SERVER]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout
        assert server.stdout.readline() == b"ready\n"
        inside = os.open(f"/run/netns/{names[0]}", os.O_RDONLY)
        enter(inside)
        os.close(inside)
        yield Far()
    finally:
        enter(home)
        os.close(home)
        if server is not None:
            server.kill()
            server.communicate()
        for one in names:
            subprocess.run(["ip", "netns", "del", one], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
