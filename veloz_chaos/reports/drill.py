"""A drill's plan in words, for whoever is to approve it."""

from __future__ import annotations

from collections.abc import Iterator

from veloz_chaos.core.drill import DrillFile, DrillPlan
from veloz_chaos.reports.planned import labelled, step_in_words
from veloz_chaos.reports.verdict import wrapped


def describe(file: DrillFile, width: int = 80) -> list[str]:
    plan = file.plan
    head = wrapped(
        f"drill: {plan.plan.experiment} on {plan.plan.environment} ({plan.plan.tier}): {plan.plan.title}", width
    )
    approved = [
        ("approved by", f"{one.by}{f' until {one.until}' if one.until else ''} (checked when it is run)")
        for one in file.approvals
    ]
    return [*head, "", *labelled([*_facts(plan), *approved, ("SHA-256", file.digest)], width)]


def _facts(plan: DrillPlan) -> Iterator[tuple[str, str]]:
    for label, texts in (
        ("target", plan.targets),
        ("blast radius", plan.blast_radius),
        ("undo", plan.undo),
        ("expected", plan.impact),
        ("abort when", plan.abort),
    ):
        yield from ((label, text) for text in texts)
    yield from (("step", f"{step.name}: {step_in_words(step, plan.plan)}") for step in plan.plan.steps)
    yield "executor", plan.executor
    yield from (("role", f"{role}: {person}") for role, person in plan.roles.items())
    yield "window", f"{plan.window.from_ or 'now'} to {plan.window.to or 'any time'}"
    yield "approvals", f"{plan.approvals}, by people other than the executor"
