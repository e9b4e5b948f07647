"""A schedule for GitLab: the job as YAML, and the pipeline schedules, which GitLab keeps elsewhere, as commands of its
own `glab`. Those know time zones."""

from __future__ import annotations

from shlex import quote

from veloz_chaos.reports.exported import Export

_JOB = """\
chaos-@NAME@:
  image: @IMAGE@
  # One at a time, and none is broken off: what it hurt must be put back.
  resource_group: chaos-@NAME@
  interruptible: false
  timeout: 2h
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  cache:
    - key: chaos-@NAME@
      paths: [runs/]
      policy: pull-push
      when: always
  before_script:
    - pip install veloz-chaos
  script:
    - veloz-chaos schedule run @WHOLE@ --quiet@WAIT@ --junit results/junit.xml --results results
    - veloz-chaos schedule check @WHOLE@
  artifacts:
    when: always
    expire_in: 1 year
    paths: [results/]
    reports:
      junit: results/junit.xml
"""


def render(export: Export) -> dict[str, str]:
    lines = [*export.head, "# When it runs is not kept in this file; create it once:"]
    for (when, zone), ids in export.times.items():
        words = ["glab", "schedule", "create", "--ref", "main", "--description", ", ".join(ids)]
        words += ["--cron", when, "--cronTimeZone", zone]
        lines.append("#   " + " ".join(map(quote, words)))
    job = (
        _JOB.replace("@NAME@", export.name)
        .replace("@WHOLE@", export.whole)
        .replace("@IMAGE@", export.image or "python:3.11-slim")
    )
    return {".gitlab-ci.yml": "\n".join(lines) + "\n" + job.replace("@WAIT@", export.wait)}
