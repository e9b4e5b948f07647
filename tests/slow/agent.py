"""Inside the machine: does what it is told, one order after the other. Only the standard library is there for it.

An order is a line of JSON on the port: argv, env, cwd, stdin (text), wait (seconds). While its command runs, what that
says (stdout and stderr) goes back in lines {"said": text}; then {"code": exit code, negative for a signal, null if it
was killed since the time was over}.
"""

from __future__ import annotations

import codecs
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The only one of its kind; it may come a moment after its driver.
DEVICES, PORT = Path("/dev"), "vport*p*"
Say = Callable[[dict[str, Any]], None]


def main(port: Path) -> None:
    with port.open("r+b", buffering=0) as line:

        def say(message: dict[str, Any]) -> None:
            line.write(json.dumps(message).encode() + b"\n")

        say({"ready": True})
        orders = b""
        while True:
            orders += os.read(line.fileno(), 65536)
            while b"\n" in orders:
                order, _, orders = orders.partition(b"\n")
                obey(json.loads(order), say)


def obey(order: dict[str, Any], say: Say) -> None:
    environment = {**os.environ, **order["env"]}
    try:
        child = subprocess.Popen(
            order["argv"], env=environment, cwd=order["cwd"], start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        say({"said": f"{error}\n"})
        say({"code": 127})
        return
    with child:
        assert child.stdin
        with child.stdin:
            child.stdin.write(order["stdin"].encode())
        say({"code": follow(child, time.monotonic() + order["wait"], say)})


def follow(child: subprocess.Popen[bytes], deadline: float, say: Say) -> int | None:
    """Until it has ended, whoever else holds its output."""
    assert child.stdout
    os.set_blocking(child.stdout.fileno(), False)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    while True:
        ended = child.poll() is not None
        select.select([child.stdout], [], [], 0 if ended else 0.1)
        while data := child.stdout.read(65536):
            say({"said": decode(data)})
        if ended:
            return child.returncode
        if time.monotonic() > deadline:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return None


if __name__ == "__main__":
    while not (ports := list(DEVICES.glob(PORT))):
        time.sleep(0.05)
    main(ports[0])
