"""What the order flow shows of a run: the fate of its orders and the impact on it, each as findings.

The order history must be the one that the journal vouches for; any other shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from veloz_chaos.core import phases as of_phases
from veloz_chaos.core.audit import CATEGORIES, Audit, Category, audit
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.history import History
from veloz_chaos.core.impact import conditions
from veloz_chaos.core.measure import Measurement
from veloz_chaos.core.model import kebab
from veloz_chaos.core.orders import Orders
from veloz_chaos.core.phases import Name, Phase
from veloz_chaos.core.plan import Plan

#: Ids named in one finding.
_NAMED = 3


@dataclass(frozen=True)
class Flow:
    """`audit` is None where no workload was asked for."""

    audit: Audit | None = None
    phases: Mapping[Name, Phase] = field(default_factory=dict)
    #: one each of the experiment's impact conditions
    impact: tuple[Finding, ...] = ()
    #: the history itself; None where it is missing, or not the one that the journal vouches for
    orders: Orders | None = field(default=None, repr=False, compare=False)

    @property
    def hurt(self) -> bool:
        """All conditions hold: they show the impact, also where the steady state never broke."""
        return bool(self.impact) and all(finding.verdict == "passed" for finding in self.impact)

    @property
    def open(self) -> str:
        """Why the conditions show nothing, one way or the other; empty if they do."""
        if any(finding.verdict == "failed" for finding in self.impact):
            return ""
        return next((finding.reason for finding in self.impact if finding.verdict == "inconclusive"), "")


def flow(plan: Plan, history: History, m: Measurement, orders: Orders | None) -> Flow:
    wanted = plan.orders is not None or isinstance(plan.impact, list) or history.orders_file
    if not wanted:
        return Flow()
    why = _distrust(history, orders)
    if why or orders is None:
        return Flow(Audit(why), {}, tuple(conditions(plan, m, {}, why)))
    phases = of_phases.phases(orders, of_phases.bounds(plan, history, m))
    return Flow(audit(orders), phases, tuple(conditions(plan, m, phases, "")), orders)


def _distrust(history: History, orders: Orders | None) -> str:
    """Why this is not the whole order history of this run; empty if it is."""
    if orders is None:
        return "the order history is missing"
    if orders.unreadable:
        return f"the order history cannot be read: {orders.unreadable}"
    if not history.orders_sha256:
        return "the workload did not end: its order history is not whole"
    if orders.sha256 != history.orders_sha256:
        return "the order history was changed: its SHA-256 is not the one in the journal"
    return f"the workload broke off: {history.workload_error}" if history.workload_error else ""


def fates(plan: Plan, found: Flow) -> Iterator[Finding]:
    """One finding for each category that the experiment limits."""
    if plan.orders is None or found.audit is None:
        return
    for name in type(plan.orders).model_fields:
        category = _category(name)
        yield _fate(f"orders: {category}", category, getattr(plan.orders, name), found.audit)


def _category(name: str) -> Category:
    return next(category for category in CATEGORIES if category == kebab(name.replace("_", "-")))


def _fate(title: str, category: Category, limit: int, found: Audit) -> Finding:
    count, total = found.count(category), found.accepted + found.refused + found.unknown
    if found.why:
        return Finding(title, "inconclusive", found.why)
    if count > limit:
        allowed = f", the limit is {limit}" if limit else ""
        return Finding(title, "failed", f"{count} of {total} orders{allowed}: {_named(category, found)}")
    return Finding(title, "passed", f"{count or 'none'} of {total} orders")


def _named(category: Category, found: Audit) -> str:
    """`vc-1, vc-2, vc-3 and 4 more; vc-1: placed (…), 3 ms later accepted (200), 8.1 s later absent at the exchange`"""
    ids, cases = found.ids[category], found.cases[category]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{', '.join(ids[:_NAMED])}{more}; {cases[0].order}: {cases[0]}"


def clean(found: Flow) -> Iterator[Finding]:
    """Of a placebo: with nothing done, nothing may be wrong, whatever the experiment allows."""
    title = "placebo: clean audit"
    if found.audit is None:
        return
    wrong: list[Category] = [category for category in CATEGORIES if found.audit.count(category)]
    if found.audit.why:
        yield Finding(title, "inconclusive", found.audit.why)
    elif wrong:
        said = "; ".join(f"{category}: {_named(category, found.audit)}" for category in wrong)
        yield Finding(title, "failed", f"though nothing was done, {said}")
    else:
        yield Finding(title, "passed", "every order is where it must be")
