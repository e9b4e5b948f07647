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
    """`caught_by`: experiment -> the expectations of it that must fail; no other may, but those `by_chance`.
    `monitored`: it is one of the monitoring's, and shows where that is started."""

    title: str
    caught_by: Mapping[str, tuple[str, ...]]
    by_chance: Mapping[str, tuple[str, ...]]
    monitored: bool = False

    def agrees(self, experiment: str, failed: Sequence[str]) -> bool:
        """Did what had to fail do so, and nothing else?"""
        must, may = self.caught_by[experiment], self.by_chance.get(experiment, ())
        return [one for one in failed if one not in may] == list(must)


def _row(title: str, by_chance: Mapping[str, tuple[str, ...]] | None = None, **caught_by: str) -> Flaw:
    """Experiments by their names in snake case; several expectations of one are separated by ` + `."""
    must = {name.replace("_", "-"): tuple(said.split(" + ")) for name, said in caught_by.items()}
    return Flaw(title, must, by_chance or {})


def _alerts(title: str, expectation: str) -> Flaw:
    """Of every row's alert alike; these three are the ones that are tried."""
    tried = ("engine-crash", "network-partition", "exchange-failure")
    return Flaw(title, dict.fromkeys(tried, (f"alert: {expectation}",)), {}, monitored=True)


_REFUSED = "while detected: always trading-refused"
FLAWS: Mapping[str, Flaw] = {
    "engine-slow-restart": _row("The watchdog restarts a dead engine only after 12 s", engine_crash="recovery"),
    "engine-never-restarts": _row("The watchdog never restarts a dead engine", engine_crash="recovery"),
    "gateway-hangs-without-engine": _row(
        "Orders, cancels and positions wait for ever while the engine is away",
        engine_crash=_REFUSED,
        network_partition=_REFUSED,
    ),
    "health-lies": _row(
        "/health says that all is well, always",
        engine_crash="detection",
        network_partition="detection",
        network_latency="detection",
        exchange_failure="detection",
    ),
    "no-exchange-cache": _row(
        "No cached price while the exchange is unavailable",
        exchange_failure="while detected: always market-data-cached",
    ),
    "gateway-state-not-restored": _row(
        "A restarted gateway has forgotten the orders it had answered",
        by_chance={"pod-kill": ("orders: unresolved",)},  # it may have been asked for one when it died
        pod_kill="keeps open-orders + orders: divergent",
    ),
    "relapses-after-recovery": _row(
        "A restarted engine dies again after 2.5 s, until 15 s after its first death", engine_crash="recovery"
    ),
    "detection-flaps": _row(
        "While the engine is away /health tells it and denies it in turns",
        engine_crash="detection",
        network_partition="detection",
    ),
    "loses-acknowledged-orders": _row(
        "Orders are acknowledged at once and sent to the exchange 300 ms later, from memory", pod_kill="orders: lost"
    ),
    "duplicates-orders-on-recovery": _row(
        "When the exchange is back, orders of the 3 s before its loss are sent again without asking",
        exchange_failure="orders: duplicated",
    ),
    "rejects-locally-what-the-exchange-holds": _row(
        "Orders refused for want of the engine are sent to the exchange all the same",
        engine_crash="orders: resurrected",
        network_partition="orders: resurrected",
    ),
    "sse-never-resumes": _row(
        "A client that comes back to the event stream gets nothing it missed",
        pod_kill="while recovered: never stream-missed-events",
    ),
    "ignores-retry-after": _row(
        "The exchange is called on while Retry-After runs",
        exchange_rate_limit="while fault: never exchange-called-too-early",
    ),
    "dns-not-cached": _row(
        "Without a fresh DNS answer there is no address of the exchange",
        dns_failure="while fault: always orders-served",
    ),
    "database-loss-stops-orders": _row(
        "Orders are refused while the database is away", database_down="while detected: always orders-served"
    ),
    "vault-not-cached": _row(
        "Credentials are dropped as soon as Vault is away, orders are refused",
        vault_down="while detected: always orders-served + while detected: always credentials-cached",
    ),
    "no-log-rotation": _row(
        "The log is never rotated; with a full volume nothing more is logged",
        disk_full="while detected: always log-written",
    ),
    "memory-not-watched": _row(
        "The gateway neither logs nor tells that its memory is short",
        oom_kill="while fault: always memory-logged-before-kill",
        memory_pressure="impact",
    ),
    "backup-not-restorable": _row("Half of the base backup is missing", full_dr_test="step backups"),
    "wal-archive-behind": _row("The database's log is archived a minute late", full_dr_test="rpo"),
    "refuses-when-slow": _row(
        "Every third order is refused while the gateway is short of CPU", cpu_stress="while fault: always orders-served"
    ),
    "alert-wrong-severity": _alerts("Rules and routes call critical high, warning info, and the reverse", "severity"),
    "alert-wrong-channel": _alerts("What is for PagerDuty goes to Slack, what is for Slack to PagerDuty", "channels"),
    "alert-never-fires": _alerts("The rules name metrics by names that they no longer have", "raised"),
    "alert-never-resolves": _alerts("Once raised, an alert fires for an hour more", "resolved"),
    "alert-storm": _alerts("With any alert three others are raised that say nothing", "noise"),
}


def checked(names: Sequence[str], monitored: bool = False) -> tuple[str, ...]:
    """The names, sorted, once each. Raises UsageError for a name that is no flaw, and for one of the monitoring where
    there is none."""
    for name in names:
        if name not in FLAWS:
            raise UsageError(f"unknown flaw '{name}'; {_remedy(name)}")
        if FLAWS[name].monitored and not monitored:
            raise UsageError(f"the flaw {name} is one of the monitoring; start it with --monitoring")
    return tuple(sorted(set(names)))


def need_monitoring(names: Sequence[str]) -> bool:
    return any(name in FLAWS and FLAWS[name].monitored for name in names)


def _remedy(name: str) -> str:
    nearest = difflib.get_close_matches(name, FLAWS, n=1, cutoff=0.4)
    return f"did you mean '{nearest[0]}'?" if nearest else f"the flaws are: {', '.join(sorted(FLAWS))}"
