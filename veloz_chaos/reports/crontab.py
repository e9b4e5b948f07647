"""A schedule for cron: started often, in no zone of its own. Which zone a crontab's times are in differs from one cron
to the other (`CRON_TZ` is cronie's alone), and none catches up on what it missed; `schedule run` knows both."""

from __future__ import annotations

from shlex import quote

from veloz_chaos.reports.exported import Export

#: Where jitter puts starts between the entries' own minutes, it is started so often (minutes).
_OFTEN = 10
#: Zones differ by whole hours, and a few by half of one or a quarter.
_SHIFTS = (0, 15, 30, 45)


def render(export: Export) -> dict[str, str]:
    entries = export.schedule.entries
    if any(entry.jitter for entry in entries) or export.schedule.blackouts:
        minutes = f"*/{_OFTEN}"
    else:
        minutes = ",".join(
            map(str, sorted({(int(entry.at[3:]) + shift) % 60 for entry in entries for shift in _SHIFTS}))
        )
    directory = quote(export.directory).replace("%", r"\%")
    lines = [
        *export.head,
        "# Exit codes, for whoever reads the mail: 1 failed, 3 inconclusive, 4 refused, 6 something is left behind.",
        f"{minutes} * * * * cd {directory} && veloz-chaos schedule run {export.whole} --quiet",
    ]
    return {f"{export.name}.crontab": "\n".join(lines) + "\n"}
