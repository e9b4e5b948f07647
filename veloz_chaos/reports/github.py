"""A schedule as a workflow of GitHub Actions.

The runs of earlier jobs come from the cache; what GitHub has thrown away is not known to it any more.
"""

from __future__ import annotations

from veloz_chaos.reports.exported import Export

_JOB = """\
permissions:
  contents: read
# One at a time, and none is broken off: what it hurt must be put back.
concurrency:
  group: chaos-@NAME@
  cancel-in-progress: false
jobs:
  chaos:
    runs-on: ubuntu-latest
    timeout-minutes: 120
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install veloz-chaos
      - name: The runs of earlier jobs
        uses: actions/cache/restore@v4
        with:
          path: runs
          key: chaos-@NAME@-${{ github.run_id }}
          restore-keys: chaos-@NAME@-
      - name: What is due
        run: veloz-chaos schedule run @WHOLE@ --quiet@WAIT@ --junit results/junit.xml --results results
      - name: Is the evidence there?
        if: always()
        run: veloz-chaos schedule check @WHOLE@
      - name: Keep the runs
        if: always()
        uses: actions/cache/save@v4
        with:
          path: runs
          key: chaos-@NAME@-${{ github.run_id }}
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: chaos-@NAME@-${{ github.run_id }}
          path: results
          if-no-files-found: ignore
          retention-days: 90
"""


def render(export: Export) -> dict[str, str]:
    lines = [*export.head, f"name: chaos {export.name}", "on:", "  workflow_dispatch:", "  schedule:"]
    for (when, zone), ids in export.times.items():
        lines.append(f'    - cron: "{when}"  # {", ".join(ids)}')
        lines += [] if zone == "UTC" else [f"      timezone: {zone}"]
    text = (
        "\n".join(lines)
        + "\n"
        + _JOB.replace("@NAME@", export.name).replace("@WHOLE@", export.whole).replace("@WAIT@", export.wait)
    )
    return {f".github/workflows/chaos-{export.name}.yml": text}
