"""What `promtool` and `amtool` say of files that their servers would not load: their words, our findings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from veloz_chaos.core.linting_setup import Finding, Literal_, Rule
from veloz_chaos.core.linting_yaml import Node, Spot
from veloz_chaos.core.notification import plain

#: Characters of what a tool says.
_LONGEST = 400
_LINE = re.compile(r"(?:(?P<line>\d+):(?P<column>\d+)|line (?P<only>\d+)): ")
_RULE = re.compile(r'group "(?P<group>.*)", rule (?P<number>\d+), ')
_KEY = re.compile(r"field (\S+) not found in type (\S+)$")
#: What stands for a text that is filled in.
_ADDRESS = "http://localhost"
#: What tells nothing: what is read, and how many files were refused.
_NOISE = re.compile(r"Checking |yaml: unmarshal errors:$|\w+: error: failed to validate|(?:level|ts|time)=|$")


@dataclass(frozen=True)
class Tool:
    """A program that loads a file as its server does, and ends with another code than 0 where that refuses it."""

    name: str
    server: str
    package: str
    #: keys that a newer one, or Thanos, takes: only that they are not known here can be said of a file with them
    others: frozenset[str]


PROMTOOL = Tool(
    "promtool", "Prometheus", "Prometheus",
    frozenset({
        "query_offset", "rule_query_offset", "labels rulefmt.RuleGroup", "keep_firing_for", "partial_response_strategy",
        "scrape_config_files", "scrape_protocols", "scrape_fallback_protocol", "scrape_classic_histograms",
        "always_scrape_classic_histograms", "convert_classic_histograms_to_nhcb", "native_histogram_bucket_limit",
        "scrape_native_histograms", "metric_name_validation_scheme", "metric_name_escaping_scheme", "otlp", "runtime",
        "keep_dropped_targets", "enable_compression", "http_headers",
    }),
)  # fmt: skip
AMTOOL = Tool(
    "amtool", "Alertmanager", "Alertmanager",
    frozenset({
        "discord_configs", "webex_configs", "msteams_configs", "msteamsv2_configs", "jira_configs", "jira_api_url",
        "rocketchat_configs", "rocketchat_api_url", "incidentio_configs", "mattermost_configs", "url_file",
        "http_headers", "tracing",
    }),
)  # fmt: skip


def words(output: str, file: str) -> list[str]:
    """The complaints in what a tool printed of `file`, each in one line; none: it is about something else."""
    _, failed, told = output.partition("FAILED:")
    lines = (line.strip().removeprefix("parsing YAML file ").removeprefix(f"{file}: ") for line in told.splitlines())
    return [plain(line) for line in lines if failed and not _NOISE.match(line)]


def unknown(tool: Tool, said: Iterable[str]) -> list[str]:
    """The keys, if `said` is of nothing else, that only other versions know."""
    found = [_KEY.search(one) for one in said]
    keys = [one[1] for one in found if one and {one[1], f"{one[1]} {one[2]}"} & tool.others]
    return keys if len(keys) == len(found) else []


def refused(tool: Tool, version: str, file: str, said: Sequence[str], rules: Iterable[Rule] = ()) -> Finding:
    """One for each file, where the first complaint is; `rules`: those of the file."""
    told = "; ".join(dict.fromkeys(said))
    told = told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"
    return Finding(
        "file-refused", "defect", f"{tool.server}'s file", f"{tool.name}{version and ' '}{version} refuses it: {told}",
        f"correct it: {tool.server} does not load it", _spot(file, said[0], rules),
    )  # fmt: skip


def _spot(file: str, said: str, rules: Iterable[Rule]) -> Spot:
    if found := _LINE.match(said):
        return Spot(file, int(found["line"] or found["only"]), int(found["column"] or 1))
    if found := _RULE.match(said):
        place = (found["group"], int(found["number"]) - 1)
        return next((one.spot for one in rules if (one.group.name, one.order) == place), Spot(file))
    return Spot(file)


def unchecked(tool: Tool, why: str, remedy: str, file: str = "") -> Finding:
    """That nobody knows whether the server would take the file, or any of its files."""
    what = "its file" if file else "these files"
    message = f"{why}: whether {tool.server} would load {what} was not checked"
    return Finding("files-unchecked", "note", tool.name, message, remedy, Spot(file))


def filled(text: str, literals: Iterable[Literal_]) -> list[str]:
    """With `${…}` filled in as somebody may mean to: by addresses, by numbers. That they are left is said elsewhere."""
    references = sorted({one.reference for one in literals}, key=len, reverse=True)
    if not references:
        return []
    pattern = re.compile("|".join(map(re.escape, references)))
    return [pattern.sub(value, text) for value in (_ADDRESS, "1")]


def not_of_literals(said: Sequence[list[str]]) -> list[str]:
    """Of what is said where `${…}` is filled in, what is not about that; nothing where one filling is taken."""
    return next((one for one in said if not any(_ADDRESS in line for line in one)), []) if all(said) else []


def objects(documents: Iterable[Node]) -> list[str]:
    """The rule files in PrometheusRule objects, without what only Thanos reads."""
    return [
        json.dumps({"groups": [_group(group) for group in document["spec"]["groups"].items()]})
        for document in documents
        if document["kind"].value == "PrometheusRule"
    ]


def _group(node: Node) -> dict[str, Any]:
    made = {key: _raw(value) for key, value in node.mapping().items() if key != "partial_response_strategy"}
    limit = str(made.get("limit") or "")
    return made | ({"limit": int(limit)} if limit.isdecimal() else {})


def _raw(node: Node) -> Any:
    if isinstance(node.value, list):
        return [_raw(one) for one in node.value]
    return {key: _raw(one) for key, one in node.value.items()} if isinstance(node.value, dict) else node.value
