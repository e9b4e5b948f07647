"""Delay and loss by the kernel's own network emulator, on what a link's target sends; only where the kernel has it.

A classful root (htb) lets everything pass but the link's packets, which a filter sends through netem. The handle of
the root tells that it is ours, and the number of the class whose it is; a device whose root somebody else has set is
left alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import cache

from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms.netfilter import Peer, run

#: The root's major number, and netem's.
HANDLE, CHILD = "7c0a:", "7c0b:"
#: What the kernel gives a device by itself.
USUAL = ("noqueue", "pfifo_fast", "fq_codel", "mq", "fq")


@cache
def there() -> bool:
    """Found out by trying, in a network namespace that is thrown away."""
    try:
        run(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    except TargetError:
        return False
    return True


def device(address: str) -> str:
    """The one that leads there."""
    said = run(["ip", "-o", *(["-6"] if ":" in address else []), "route", "get", address])
    found = re.search(r"\bdev (\S+)", said)
    if not found:
        raise TargetError(f"no device leads to {address}: {said.strip()}")
    return found[1]


def free(device: str) -> bool:
    """Nobody has set its root."""
    said = run(["tc", "qdisc", "show", "dev", device, "root"])
    return not said.strip() or said.split()[1] in USUAL


def number(sign: str) -> str:
    """Of its class, from 1 to fffe."""
    return f"{1 + zlib.crc32(sign.encode()) % 0xFFFE:x}"


def commands(device: str, peer: Peer, sign: str, effect: Sequence[str]) -> list[list[str]]:
    """What puts the effect on the peer's packets, in order."""
    class_ = f"{HANDLE}{number(sign)}"
    made = [
        ["tc", "qdisc", "add", "dev", device, "root", "handle", HANDLE, "htb"],
        ["tc", "class", "add", "dev", device, "parent", HANDLE, "classid", class_, "htb", "rate", "10gbit"],
        ["tc", "qdisc", "add", "dev", device, "parent", class_, "handle", CHILD, "netem", "limit", "100000", *effect],
    ]
    for address in peer.addresses:
        six = ":" in address
        to = ["match", "ip6" if six else "ip", "dst", f"{address}/{128 if six else 32}"]
        port = ["match", "ip6" if six else "ip", "dport", str(peer.port), "0xffff"]
        # a device has one list of filters for each protocol and priority
        which = ["protocol", "ipv6", "prio", "2"] if six else ["protocol", "ip", "prio", "1"]
        made.append(
            ["tc", "filter", "add", "dev", device, "parent", HANDLE, *which, "u32", *to, *port, "flowid", class_]
        )
    return made


def delaying(delay: float, jitter: float) -> list[str]:
    """Seconds."""
    return ["delay", f"{delay * 1e6:.0f}us", *([f"{jitter * 1e6:.0f}us"] if jitter else [])]


def losing(share: float) -> list[str]:
    return ["loss", f"{share * 100:.4f}%"]


def put(device: str, peer: Peer, sign: str, effect: Sequence[str]) -> None:
    """All of it, or nothing. Raises TargetError."""
    root, *rest = commands(device, peer, sign, effect)
    run(root)
    try:
        for command in rest:
            run(command)
    except TargetError:
        _remove(device)
        raise


def remove(sign: str) -> None:
    """All of that sign. Safe twice, and while another one does it."""
    for device in _whose(sign):
        try:
            _remove(device)
        except TargetError:
            if device in _whose(sign):
                raise


def _whose(sign: str) -> list[str]:
    return [device for device, whose in ours().items() if whose == number(sign)]


def ours() -> dict[str, str]:
    """The devices whose root is ours, each with the number of whose effect it has; empty if it has none."""
    said = run(["tc", "qdisc", "show"])
    effects = re.findall(rf"^qdisc netem {CHILD} dev (\S+) parent {HANDLE}([0-9a-f]+)", said, re.MULTILINE)
    roots = re.findall(rf"^qdisc htb {HANDLE} dev (\S+) root", said, re.MULTILINE)
    return {device: dict(effects).get(device, "") for device in roots}


def _remove(device: str) -> None:
    run(["tc", "qdisc", "del", "dev", device, "root"])
