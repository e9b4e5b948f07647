"""Rules of the packet filter in this network namespace, each with a sign in its comment; iptables does the writing.

Nothing without the sign is ever removed. A rule that sends to a queue nobody listens to lets everything pass.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from veloz_chaos.errors import TargetError, Unavailable
from veloz_chaos.mechanisms import conntrack
from veloz_chaos.mechanisms.disturber import REJECTED
from veloz_chaos.mechanisms.nfqueue import IN, OUT

Family = Literal[4, 6]
PROGRAMS: dict[Family, str] = {4: "iptables", 6: "ip6tables"}
CHAINS = {IN: "INPUT", OUT: "OUTPUT"}
OURS = re.compile(r"--comment \"?(vc-[\w.-]+)")
#: The port of name servers.
QUESTIONS = 53
REDIRECTS = re.compile(r"-j REDIRECT --to-ports (\d+)")
#: Seconds for one call, and for the lock that others may hold.
PATIENCE, LOCK = 10.0, 5


@dataclass(frozen=True)
class Peer:
    """The other end of a link: its addresses and port, or, `inbound`, whoever reaches our own `port` from outside."""

    addresses: tuple[str, ...]
    port: int
    inbound: bool = False

    def families(self) -> list[Family]:
        if self.inbound:
            return [4, 6]
        found: set[Family] = {6 if ":" in address else 4 for address in self.addresses}
        return sorted(found)

    def matches(self, family: Family, hook: int) -> Iterator[list[str]]:
        """What a rule says to mean this link's packets one way."""
        if self.inbound:
            way, port = ("-i", "--dport") if hook == IN else ("-o", "--sport")
            yield ["!", way, "lo", "-p", "tcp", port, str(self.port)]
            return
        end, port = ("-s", "--sport") if hook == IN else ("-d", "--dport")
        for address in self.addresses:
            if (":" in address) == (family == 6):
                yield ["-p", "tcp", end, address, port, str(self.port)]


@dataclass(frozen=True)
class Rule:
    family: Family
    chain: str
    words: tuple[str, ...]
    table: str = "filter"

    def insert(self) -> list[str]:
        return [PROGRAMS[self.family], "-w", str(LOCK), "-t", self.table, "-I", self.chain, "1", *self.words]


def queueing(
    peer: Peer, hooks: Sequence[int], sign: str, queue: int, mark: int, *, resets: bool = True
) -> Iterator[Rule]:
    """Each packet once: what comes back from the queue carries the mark. Without `resets` the kernel's own resets are
    left alone: one that REJECT has made belongs to a connection that was never confirmed, and a queue would drop it."""
    but = [] if resets else ["!", "--tcp-flags", "RST", "RST"]
    for family in peer.families():
        for hook in hooks:
            for match in peer.matches(family, hook):
                once = ["-m", "mark", "!", "--mark", f"{mark:#x}/{mark:#x}"]
                to = ["-j", "NFQUEUE", "--queue-num", str(queue), "--queue-bypass"]
                yield Rule(family, CHAINS[hook], (*match, *but, *once, *_comment(sign), *to))


def rejecting(peer: Peer, sign: str) -> Iterator[Rule]:
    """What the queue's listener has marked is answered with a reset."""
    for family in peer.families():
        for hook in (IN, OUT):
            for match in peer.matches(family, hook):
                marked = ["-m", "mark", "--mark", f"{REJECTED:#x}/{REJECTED:#x}"]
                to = ["-j", "REJECT", "--reject-with", "tcp-reset"]
                yield Rule(family, CHAINS[hook], (*match, *marked, *_comment(sign), *to))


def redirecting(sign: str, port: int, mark: int) -> Iterator[Rule]:
    """Questions to name servers, but those with the mark, go to a port of ours."""
    for protocol in ("udp", "tcp"):
        match = ["-p", protocol, "--dport", str(QUESTIONS), "-m", "mark", "!", "--mark", f"{mark:#x}/{mark:#x}"]
        yield Rule(4, "OUTPUT", (*match, *_comment(sign), "-j", "REDIRECT", "--to-ports", str(port)), "nat")


def _comment(sign: str) -> list[str]:
    return ["-m", "comment", "--comment", sign]


def install(rules: Sequence[Rule]) -> None:
    """Raises TargetError in the program's own words."""
    for rule in rules:
        run(rule.insert())


def remove(sign: str) -> None:
    """Every rule with that sign, and what the kernel remembers of it. Safe twice, and while another one does it. Raises
    TargetError if one stays."""
    for rule in _signed(sign):
        family, table, line = rule
        try:
            run([PROGRAMS[family], "-w", str(LOCK), "-t", table, "-D", *shlex.split(line)[1:]])
        except TargetError:
            if rule in _signed(sign):
                raise
        if found := REDIRECTS.search(line):
            conntrack.forget(int(found[1]))


def signs(table: str | None = None) -> list[str]:
    """Of all rules of ours, or of those in one table."""
    return sorted({sign for _, of, line in _lines() if table in (None, of) and (sign := _sign(line))})


def marks() -> int:
    """The marks that rules of ours use already."""
    used = 0
    for *_, line in _lines():
        for found in re.findall(r"! --mark (0x[0-9a-f]+)", line) if _sign(line) else ():
            used |= int(found, 16)
    return used


def _signed(sign: str) -> list[tuple[Family, str, str]]:
    return [(family, table, line) for family, table, line in _lines() if _sign(line) == sign]


def _sign(line: str) -> str:
    found = OURS.search(line)
    return found[1] if found else ""


def _lines() -> Iterator[tuple[Family, str, str]]:
    """Every rule with its table; both programs asked at once."""
    with ThreadPoolExecutor(len(PROGRAMS)) as threads:
        for family, said in zip(PROGRAMS, threads.map(_saved, PROGRAMS), strict=True):
            table = ""
            for line in said.splitlines():
                if line.startswith("*"):
                    table = line[1:]
                elif line.startswith("-A "):
                    yield family, table, line


def _saved(family: Family) -> str:
    try:
        return run([f"{PROGRAMS[family]}-save"])
    except TargetError:
        if family == 6:  # a kernel without it has no rules of ours either
            return ""
        raise


def run(command: Sequence[str]) -> str:
    """What it printed. Raises TargetError in its own words, Unavailable if it hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise TargetError(f"{command[0]} is not installed here") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} has not ended within {PATIENCE:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TargetError(f"{' '.join(command)}: {said[0] if said else f'ended with {done.returncode}'}")
    return done.stdout
