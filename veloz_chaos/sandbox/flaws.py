"""The known weaknesses that `up` can seed: one row per flaw, with the experiments that must catch it.

A flaw shows only its own weakness; all else behaves as the failure modes promise. To add one, add a row here and
ask `settings.has("its-name")` at the one place where the behaviour differs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veloz_chaos.errors import UsageError


@dataclass(frozen=True)
class Flaw:
    title: str
    caught_by: tuple[str, ...]


FLAWS: Mapping[str, Flaw] = {
    "engine-slow-restart": Flaw("The watchdog restarts a dead engine only after 12 s", ("engine-crash",)),
    "engine-never-restarts": Flaw("The watchdog never restarts a dead engine", ("engine-crash",)),
    "gateway-hangs-without-engine": Flaw(
        "Orders, cancels and positions wait for ever while the engine is away", ("engine-crash", "network-partition")
    ),
    "health-lies": Flaw(
        "/health says that all is well, always",
        ("engine-crash", "network-partition", "network-latency", "exchange-failure"),
    ),
    "no-exchange-cache": Flaw("No cached price while the exchange is unavailable", ("exchange-failure",)),
    "gateway-state-not-restored": Flaw("A restarted gateway has forgotten its orders", ("pod-kill",)),
    "relapses-after-recovery": Flaw(
        "A restarted engine dies again after 2.5 s, until 15 s after its first death", ("engine-crash",)
    ),
    "detection-flaps": Flaw(
        "While the engine is away /health tells it and denies it in turns", ("engine-crash", "network-partition")
    ),
    "database-loss-stops-orders": Flaw("Orders are refused while the database is away", ("database-down",)),
    "vault-not-cached": Flaw("Credentials are dropped as soon as Vault is away, orders are refused", ("vault-down",)),
    "no-log-rotation": Flaw("The log is never rotated; with a full volume nothing more is logged", ("disk-full",)),
    "loses-acknowledged-orders": Flaw(
        "Orders are acknowledged at once and sent to the exchange 300 ms later, from memory", ("pod-kill",)
    ),
    "duplicates-orders-on-recovery": Flaw(
        "When the exchange is back, orders of the 3 s before its loss are sent again without asking",
        ("exchange-failure",),
    ),
    "rejects-locally-what-the-exchange-holds": Flaw(
        "Orders refused for want of the engine are sent to the exchange all the same",
        ("engine-crash", "network-partition"),
    ),
    "sse-never-resumes": Flaw("A client that comes back to the event stream gets nothing it missed", ("pod-kill",)),
    "ignores-retry-after": Flaw("The exchange is called on while Retry-After runs", ("exchange-rate-limit",)),
    "dns-not-cached": Flaw("Without a fresh DNS answer there is no address of the exchange", ("dns-failure",)),
}


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The names, sorted, once each. Raises UsageError for a name that is no flaw."""
    for name in names:
        if name not in FLAWS:
            raise UsageError(f"unknown flaw '{name}'; {_remedy(name)}")
    return tuple(sorted(set(names)))


def _remedy(name: str) -> str:
    nearest = difflib.get_close_matches(name, FLAWS, n=1, cutoff=0.4)
    return f"did you mean '{nearest[0]}'?" if nearest else f"the flaws are: {', '.join(sorted(FLAWS))}"
