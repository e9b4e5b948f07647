"""What is exported passes the validators of those who read it, and starts in time for everything that is due."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files as resources
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml
from croniter import croniter

from tests.unit.test_cli_app import ROOT, call
from tests.unit.test_occurrence import entry
from veloz_chaos.core.blackout import out_of
from veloz_chaos.core.occurrence import dues, occurrences
from veloz_chaos.core.schedule import Entry, Schedule
from veloz_chaos.core.trigger import calendar, cron, trigger, triggers
from veloz_chaos.engine import schedules
from veloz_chaos.reports.exported import FORMATS, Export

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
ENTRIES = [
    entry(),
    entry(every="week", day="sunday", at="00:30"),
    entry(every="month", day=1, at="23:45"),
    entry(every="month", day=31),
    entry(every="month", day="first-tuesday"),
    entry(every="quarter", day="first-saturday", at="06:00"),
    entry(every="quarter", day="last-friday", at="06:00"),
    entry(every="year", day="second-monday", at="06:00"),
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def made(only: Entry, zone: str, **said: Any) -> Schedule:
    written = only.model_dump(by_alias=True, exclude_none=True)
    return Schedule.model_validate({"kind": "Schedule", "version": 1, "timezone": zone, "entries": [written], **said})


def coming(schedule: Schedule, count: int = 60) -> list[datetime]:
    only = schedule.entries[0]
    return list(islice(dues(schedule, only, START), count if only.every in ("day", "week") else 24))


def lateness(ticks: Iterator[datetime], due: list[datetime]) -> timedelta:
    """The longest wait from something due to the next start."""
    longest, tick = timedelta(0), next(ticks)
    for moment in due:
        while tick < moment:
            tick = next(ticks)
        longest = max(longest, tick - moment)
    return longest


def ticks(text: str, zone: Any = UTC) -> Iterator[datetime]:
    assert croniter.is_valid(text), text
    found = croniter(text, START.astimezone(zone))
    while True:
        yield found.get_next(datetime).astimezone(UTC)


def elapses(text: str, base: datetime, count: int) -> list[datetime]:
    """When systemd would start it."""
    answer = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC", text],
        capture_output=True, text=True, check=False, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    keys = ("Next elapse:", "Iteration #", "Iter. #")
    lines = [line for line in answer.stdout.splitlines() if line.strip().startswith(keys)]
    found = [datetime.strptime(line.split(": ", 1)[1].split(" ", 1)[1], "%Y-%m-%d %H:%M:%S UTC") for line in lines]
    return [moment.replace(tzinfo=UTC) for moment in found]


@pytest.mark.parametrize("only", ENTRIES, ids=lambda e: f"{e.every}-{e.day}")
def test_cron_in_its_own_zone_is_never_late(only: Entry) -> None:
    schedule = made(only, "UTC")
    assert lateness(ticks(cron(trigger(schedule, only))), coming(schedule)) == timedelta(0)


@pytest.mark.parametrize("only", ENTRIES, ids=lambda e: f"{e.every}-{e.day}")
def test_where_cron_starts_too_often_only_what_is_fresh_runs(only: Entry) -> None:
    """With a history that was lost, too: no start finds anything due for less than 12 h but the right one."""
    schedule = made(only, "UTC")
    due, t = coming(schedule), trigger(schedule, only)
    if t.exact:
        return
    found = [next_ for next_ in islice(ticks(cron(t)), 200) if next_ < due[-1]]
    fresh = [tick for tick in found if any(timedelta(0) <= tick - moment < timedelta(hours=12) for moment in due)]
    assert fresh == [moment for moment in due if moment < due[-1]][: len(fresh)]


@pytest.mark.parametrize("zone", ZONES)
def test_the_crontab_starts_within_a_quarter_of_an_hour_in_whatever_zone_it_is_read(zone: str) -> None:
    from zoneinfo import ZoneInfo

    schedule = made(entry(every="week", day="monday", at="10:20"), "Europe/Berlin")
    (text,) = FORMATS["cron"](Export("s", schedule, "/srv/chaos")).values()
    line = text.splitlines()[-1]
    assert lateness(ticks(" ".join(line.split()[:5]), ZoneInfo(zone)), coming(schedule)) <= timedelta(minutes=15)


def test_a_crontab_with_jitter_starts_often() -> None:
    schedule = made(entry(jitter="30m"), "UTC")
    (text,) = FORMATS["cron"](Export("s", schedule, "/srv/50% chaos")).values()
    line = text.splitlines()[-1]
    starts = [o.start for o in islice(occurrences(schedule, "s", schedule.entries[0], START), 100)]
    assert lateness(ticks(" ".join(line.split()[:5])), starts) <= timedelta(minutes=10)
    assert r"cd '/srv/50\% chaos' &&" in line


# --- blackouts -----------------------------------------------------------------------------------------------------

BLACKOUTS: list[dict[str, Any]] = [
    {"every": "day", "from": "22:00", "to": "06:30"},
    {"every": "week", "from": "friday 18:00", "to": "sunday"},
    {"every": "week", "from": "monday", "to": "monday 12:15", "timezone": "America/New_York"},
    {"every": "month", "from": 28, "to": 28},
    {"every": "month", "from": 28, "to": 31},
    {"every": "month", "from": 20, "to": "31 17:00"},
    {"every": "year", "from": "12-20", "to": "12-31"},
    {"every": "year", "from": "02-01", "to": "02-28"},
    {"every": "year", "from": "02-01", "to": "02-29 08:00"},
    {"from": "2026-12-24", "to": "2026-12-26 10:00"},
]


def ends(schedule: Schedule) -> list[datetime]:
    """Those of some years, by what holds entries back."""
    found = set()
    for n in range(4 * 1100):
        moment = START + n * timedelta(hours=6)
        end, _ = out_of(schedule.blackouts, schedule.timezone, moment)
        found |= {end} - {moment}
    return sorted(filter(None, found))


@pytest.mark.parametrize("said", BLACKOUTS, ids=lambda said: f"{said.get('every')}-{said['to']}")
def test_what_a_blackout_put_off_is_started_when_it_ends(said: dict[str, Any]) -> None:
    from zoneinfo import ZoneInfo

    schedule = made(entry(), "Europe/Berlin", blackouts=[said])
    own, end = triggers(schedule, schedule.entries[0])
    assert own == trigger(schedule, schedule.entries[0])
    assert (over := ends(schedule))
    assert lateness(ticks(cron(end), ZoneInfo(end.zone)), over) == timedelta(0)


@needs_systemd
@pytest.mark.parametrize("said", BLACKOUTS, ids=lambda said: f"{said.get('every')}-{said['to']}")
def test_systemd_starts_it_then_too(said: dict[str, Any]) -> None:
    schedule = made(entry(), "Europe/Berlin", blackouts=[said])
    _, end = triggers(schedule, schedule.entries[0])
    over = ends(schedule)[0]
    assert over in elapses(calendar(end), over - timedelta(seconds=1), 1)


def test_a_blackout_of_other_environments_starts_nothing() -> None:
    schedule = made(entry(), "UTC", blackouts=[BLACKOUTS[0] | {"environments": ["elsewhere"]}])
    assert len(triggers(schedule, schedule.entries[0])) == 1


@pytest.mark.parametrize("to", ["systemd", "github", "gitlab", "kubernetes"])
def test_each_format_starts_at_the_end_of_a_blackout(to: str) -> None:
    schedule = made(entry(every="week", day="monday"), "UTC", blackouts=[BLACKOUTS[1]])
    text = "\n".join(FORMATS[to](Export("s", schedule, "/srv", image="x")).values())
    wanted = {"systemd": "OnCalendar=Mon *-*-* 00:00:00 UTC", "kubernetes": "schedule: 0 0 * * 1"}
    assert wanted.get(to, "0 0 * * 1") in text
    assert {"systemd": "OnCalendar=Mon *-*-* 10:00:00 UTC"}.get(to, "0 10 * * 1") in text


def test_cronjobs_of_one_entry_have_names_of_their_own() -> None:
    schedule = made(entry(name="x" * 60), "UTC", blackouts=BLACKOUTS[:2])
    (text,) = FORMATS["kubernetes"](Export("s", schedule, "/srv", image="x")).values()
    names = [one["metadata"]["name"] for one in yaml.safe_load_all(text) if one["kind"] == "CronJob"]
    assert names == ["x" * 52, "x" * 50 + "-2", "x" * 50 + "-3"]


# --- systemd -------------------------------------------------------------------------------------------------------


@needs_systemd
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("only", ENTRIES, ids=lambda e: f"{e.every}-{e.day}")
def test_systemd_s_calendar_is_ours(only: Entry, zone: str) -> None:
    schedule = made(only, zone)
    assert elapses(calendar(trigger(schedule, only)), START, 6) == coming(schedule)[:6]


@needs_systemd
def test_systemd_verifies_every_unit(tmp_path: Path) -> None:
    answer = call("schedule", "export", "veloz", "--to", "systemd", "-o", str(tmp_path), "--directory", "/tmp")
    assert answer.returncode == 0, answer.stderr
    units = sorted(tmp_path.iterdir())
    assert len(units) == 10
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in checked.stderr.splitlines() if "veloz-chaos" in line]
    assert (checked.returncode, about_ours) == (0, []), checked.stderr


# --- CI services and Kubernetes ------------------------------------------------------------------------------------


def schema(name: str) -> Any:
    return json.loads((resources("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json").read_text())


def exported(to: str, **said: Any) -> str:
    path = ROOT / "schedules" / "veloz.yaml"
    read, _ = schedules.read(path)
    (text,) = FORMATS[to](Export("veloz", read, "/srv", path.read_text(), **said)).values()
    return text


@pytest.mark.parametrize(("to", "name"), [("github", "github-workflows"), ("gitlab", "gitlab-ci")])
def test_the_ci_services_schemas_take_it(to: str, name: str) -> None:
    text = exported(to)
    data = yaml.safe_load(text)
    if True in data:
        data["on"] = data.pop(True)  # so YAML 1.1 reads it, and GitHub does not
    jsonschema.Draft7Validator(schema(name)).validate(data)
    assert "schedule run veloz" in text
    assert "schedule check veloz" in text


def test_github_is_told_the_zone() -> None:
    schedule = made(entry(every="week", day="monday"), "Europe/Berlin")
    (text,) = FORMATS["github"](Export("s", schedule, "/srv")).values()
    (when,) = yaml.safe_load(text)[True]["schedule"]
    assert when == {"cron": "0 10 * * 1", "timezone": "Europe/Berlin"}


def test_gitlab_s_own_schedules_are_told_with_their_zones() -> None:
    text = exported("gitlab")
    assert "--cron '0 10 * * 1' --cronTimeZone UTC" in text
    assert text.count("glab schedule create") == 5


def test_kubernetes_takes_every_object() -> None:
    objects = list(yaml.safe_load_all(exported("kubernetes")))
    assert [one["kind"] for one in objects] == ["PersistentVolumeClaim", "ConfigMap", *["CronJob"] * 5]
    for one in objects:
        kubernetes_validate.validate(one, "1.31", strict=True)
    jobs = [one for one in objects if one["kind"] == "CronJob"]
    assert all(croniter.is_valid(job["spec"]["schedule"]) for job in jobs)
    assert {job["spec"]["timeZone"] for job in jobs} == {"Etc/UTC"}
    inside = yaml.safe_load(objects[1]["data"]["veloz.yaml"])
    assert Schedule.model_validate(inside).entries[0].experiment == "pod-kill"


def test_the_kubernetes_pods_are_as_hardened_as_those_that_ship() -> None:
    from tests.unit.test_deploy import pods

    (job,) = [
        one for one in yaml.safe_load_all(exported("kubernetes")) if one["metadata"]["name"] == "pod-kill-staging"
    ]
    pod, shipped = job["spec"]["jobTemplate"]["spec"]["template"]["spec"], pods()["cronjobs"]
    for key in ("serviceAccountName", "restartPolicy", "terminationGracePeriodSeconds", "securityContext"):
        assert pod[key] == shipped[key]
    for ours, theirs in zip(
        pod["initContainers"] + pod["containers"], shipped["initContainers"] + shipped["containers"], strict=True
    ):
        assert (ours["securityContext"], ours["resources"]) == (theirs["securityContext"], theirs["resources"])


def test_only_some_entries() -> None:
    answer = call("schedule", "export", "veloz", "--to", "gitlab", "--entry", "pod-kill@staging")
    assert answer.stdout.count("glab schedule create") == 1
    assert "schedule run veloz --entry pod-kill@staging --quiet" in answer.stdout
    assert "schedule check veloz --entry pod-kill@staging" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("veloz", "--to", "crom"), "--to crom: there is no such format; did you mean `cron`?"),
        (("velos", "--to", "cron"), "there is no schedule `velos`; did you mean `veloz`?"),
        (("veloz", "--to", "cron", "--entry", "x"), "--entry x: there is no such entry"),
    ],
)
def test_what_the_user_did_wrong(arguments: tuple[str, ...], message: str) -> None:
    answer = call("schedule", "export", *arguments)
    assert answer.returncode == 2
    assert message in answer.stderr


@pytest.mark.parametrize("to", ["github", "gitlab"])
def test_the_page_about_ci_shows_what_is_printed(to: str) -> None:
    entries = ("--entry", "pod-kill@staging", "--entry", "network-latency@staging")
    printed = call("schedule", "export", "veloz", "--to", to, *entries).stdout
    assert f"```yaml\n{printed}```" in (ROOT / "docs" / "ci.md").read_text()
