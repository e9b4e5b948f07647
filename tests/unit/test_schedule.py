"""What people write in a schedule: every mistake is told at its place, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_cli_app import ROOT
from veloz_chaos.core.document import parse, validate
from veloz_chaos.core.schedule import Schedule
from veloz_chaos.engine import schedules
from veloz_chaos.errors import InvalidFile
from veloz_chaos.registry import Registry

HEAD = "kind: Schedule\nversion: 1\ntimezone: UTC\nentries:\n"
GOOD = "  - {experiment: pod-kill, environment: staging, every: week, day: monday, at: '10:00'}\n"


def read(text: str) -> Schedule:
    return validate(Schedule, parse(text, "s.yaml"))


def entry(words: str) -> str:
    return f"{HEAD}  - {{experiment: pod-kill, environment: staging, {words}}}\n"


WRONG = [
    (HEAD.replace("version: 1", "version: 99") + GOOD, "`version` must be 1, not 99"),
    (entry("every: 7, at: '10:00'"), "`quarter` or `year`, not 7"),
    (HEAD.replace("UTC", "Europe/Berln") + GOOD, "there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`?"),
    (HEAD.replace("UTC", "'../../etc/passwd'") + GOOD, "there is no time zone"),
    (entry("every: week, day: mon, at: '10:00'"), "`day`"),
    (entry("every: week, day: 3, at: '10:00'"), "a week has no day `3`; write monday, tuesday, …"),
    (entry("every: day, day: monday, at: '10:00'"), "`every: day` has no `day`; leave it out, or write every: week"),
    (entry("every: month, day: monday, at: '10:00'"), "which monday of the month?; write first-monday or last-monday"),
    (entry("every: month, day: first-someday, at: '10:00'"), "`day`"),
    (entry("every: month, day: 32, at: '10:00'"), "`day`"),
    (entry("every: fortnight, at: '10:00'"), "`every` must be `day`, `week`, `month`, `quarter` or `year`"),
    (entry("every: day, at: 10:00"), "`10:00` is read as 600"),
    (entry("every: day, at: '25:00'"), "`at`"),
    (entry("every: day, at: '10:00', grace: 1d"), "`grace` must be shorter than a day, not 1d"),
    (entry("every: week, at: '10:00', jitter: 5h, window: 4h"), "`jitter` must be shorter than `window`"),
    (entry("every: week, at: '10:00', timezone: Mars/Olympus"), "there is no time zone `Mars/Olympus`"),
    (entry("every: week, at: '10:00', since: '2026-13-01'"), "`2026-13-01` is not a date"),
    (HEAD + GOOD + GOOD, "two entries are called `pod-kill@staging`; give each a `name` of its own"),
    (HEAD + GOOD + "blackouts: [{from: friday, to: monday}]\n", "`friday` is no edge of a blackout; write"),
    (
        HEAD + GOOD + "blackouts: [{every: week, from: fryday, to: monday}]\n",
        "`fryday` is no edge of a blackout every week",
    ),
    (
        HEAD + GOOD + "blackouts: [{every: year, from: 13-24, to: 12-26}]\n",
        "`13-24` is no edge of a blackout every year",
    ),
    (HEAD + GOOD + "blackouts: [{every: month, from: 0, to: 3}]\n", "`0` is no edge of a blackout every month"),
    (HEAD + GOOD + "blackouts: [{every: day, from: monday, to: '03:00'}]\n", "of a blackout every day; write"),
    (
        HEAD + GOOD + "blackouts: [{from: '2026-12-26', to: '2026-12-24'}]\n",
        "a blackout must begin before it ends; exchange `from` and `to`",
    ),
    (HEAD + GOOD + "blackouts: [{every: day, from: '03:00', to: '03:00'}]\n", "nothing would ever start"),
    (HEAD + "  []\n", "`entries`"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_mistake_is_told_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(InvalidFile) as raised:
        read(text)
    told = "\n".join(map(str, raised.value.problems))
    assert message.replace("?;", "?") in told.replace("?;", "?")
    assert told.startswith("s.yaml:")


@pytest.mark.parametrize(
    "words",
    [
        "every: day, at: '23:59'",
        "every: week, at: '00:00', grace: 3d, window: 4h, jitter: 30m",
        "every: month, day: 31, at: '10:00'",
        "every: month, day: last-friday, at: '10:00', timezone: America/New_York",
        "every: quarter, day: first-saturday, at: '06:00', since: '2026-03-01'",
        "every: year, day: second-monday, at: '06:00', name: yearly, with: {delay: 2s}",
    ],
)
def test_what_people_write(words: str) -> None:
    assert read(entry(words)).entries[0].environment == "staging"


def test_the_document_s_schedule_is_there() -> None:
    schedule, _ = schedules.read(ROOT / "schedules" / "veloz.yaml")
    said = {(e.experiment, e.every, e.environment) for e in schedule.entries}
    assert said == {
        ("pod-kill", "week", "staging"),
        ("network-latency", "week", "staging"),
        ("cpu-stress", "month", "staging"),
        ("exchange-failure", "month", "staging"),
        ("full-dr-test", "quarter", "production"),
    }


def test_names_that_do_not_exist_are_told_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        HEAD
        + "  - {experiment: pod-kil, environment: staging, every: week, at: '10:00'}\n"
        + "  - {experiment: network-latency, environment: sandbox, every: week, at: '10:00', with: {dely: 1s}}\n"
    )
    with pytest.raises(InvalidFile) as raised:
        schedules.read(path)
    first, second = map(str, raised.value.problems)
    assert first.startswith(f"{path}:5:18: there is no experiment `pod-kil`; did you mean `pod-kill`?")
    assert f"{path}:6:" in second
    assert "network-latency has no parameter `dely`; did you mean `delay`?" in second


def test_what_is_not_allowed_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("kind: Environment\nversion: 1\nname: live\ntier: production\n")
    path = tmp_path / "s.yaml"
    path.write_text(GOOD.join([HEAD, ""]).replace("staging", str(tmp_path / "env.yaml")))
    with pytest.raises(InvalidFile, match=r"pod-kill is allowed on development, staging; .*env.yaml is production"):
        schedules.read(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    try:
        schedules.read(path, Registry())
    except InvalidFile as raised:
        return [str(problem).removeprefix(f"{path}:") for problem in raised.problems]
    return []


def test_a_blackout_of_an_environment_that_no_entry_is_on_protects_nothing(tmp_path: Path) -> None:
    blackouts = "blackouts: [{every: day, from: '01:00', to: '02:00', environments: [staging, stagign]}]\n"
    (told,) = problems(tmp_path, HEAD + GOOD + blackouts)
    assert told.startswith("6:78: no entry is on the environment `stagign`; did you mean `staging`?")
    assert not problems(tmp_path, HEAD + GOOD + blackouts.replace(", stagign", ""))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{signal: KILLL}", ["5:95: engine-crash can't be run with it: `signal`"]),
        ("{signal: [KILL]}", ["5:95: `signal` must be one value, not a list; quote it if it is text"]),
        ("{signal: {a: b}}", ["5:95: `signal` must be one value, not a mapping"]),
        ("{signal: null}", ["5:95: engine-crash can't be run with it: `signal`"]),
        ("{signal: TERM}", []),
        ("{}", []),
    ],
)
def test_a_value_that_an_experiment_can_t_take_is_told(tmp_path: Path, said: str, told: list[str]) -> None:
    words = f"experiment: engine-crash, environment: sandbox, every: week, at: '10:00', with: {said}"
    found = problems(tmp_path, f"{HEAD}  - {{{words}}}\n")
    assert len(found) == len(told), found
    assert all(one.startswith(begin) for one, begin in zip(found, told, strict=True)), found


def test_all_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """An unquoted time hides nothing else."""
    text = entry("every: fortnight, at: 10:00") + "blackouts: [{from: 13:30, to: friday}]\n"
    found = problems(tmp_path, text)
    assert len(found) == 4, found


def test_what_a_run_is_given_is_the_default_then_the_environment_s_then_the_entry_s(tmp_path: Path) -> None:
    env = tmp_path / "env.yaml"
    head = "kind: Environment\nversion: 1\nname: lab\ntier: staging\n"
    path = tmp_path / "s.yaml"
    words = f"experiment: network-latency, environment: {env}, every: week, at: '10:00'"
    path.write_text(f"{HEAD}  - {{{words}, name: plain}}\n  - {{{words}, with: {{delay: 2s}}}}\n")

    def given() -> list[object]:
        return [one.parameters for one in schedules.bind(path, known=Registry())]

    assert given() == [None, None]  # there is no such file yet
    env.write_text(head)
    assert given() == [{"delay": "600ms", "jitter": "50ms"}, {"delay": "2s", "jitter": "50ms"}]
    again = tmp_path / "again.yaml"  # an environment is read once
    again.write_text(head + "experiments: {network-latency: {delay: 700ms, jitter: 10ms}}\n")
    path.write_text(path.read_text().replace(str(env), str(again)))
    assert given() == [{"delay": "700ms", "jitter": "10ms"}, {"delay": "2s", "jitter": "10ms"}]
