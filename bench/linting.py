"""Linting 1,000 rules and 200 routes from files, a whole process; every twentieth rule and tenth route has a defect.

python -m bench.linting [--rules 1000] [--routes 200] [--runs 10]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from bench import stand

#: Services, each with its own histogram, counter and gauge.
SERVICES = 100
_GLOBAL = "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
_SENDS = "alerting: {alertmanagers: [{static_configs: [{targets: ['localhost:9093']}]}]}\n"
_SLACK = "global: {slack_api_url: 'http://localhost/x'}\n"
_EXPRESSIONS = (
    "histogram_quantile(0.99, sum by (le, instance) (rate(s{n}_request_seconds_bucket[1m]))) > 0.5",
    'sum(rate(s{n}_requests_total{{status=~"5.."}}[1m])) / sum(rate(s{n}_requests_total[1m])) > 0.05',
    's{n}_queue_depth > 100 and on (instance) up{{job="job{n}"}} == 1',
    'avg_over_time(up{{job="job{n}"}}[1m]) < 0.5',
)
_DEFECT = "rate(s{n}_request_bucket[1m]) > 1"


def write(folder: Path, rules: int, routes: int) -> int:
    """Returns how many defects there are."""
    jobs = "".join(f"- {{job_name: job{n}, static_configs: [{{targets: ['s{n}:80']}}]}}\n" for n in range(SERVICES))
    (folder / "prometheus.yml").write_text(f"{_GLOBAL}{_SENDS}scrape_configs:\n{jobs}")
    (folder / "rules.yml").write_text("groups:\n" + "".join(_group(g, rules) for g in range(0, rules, 10)))
    (folder / "metrics.txt").write_text("".join(map(_page, range(SERVICES))))
    (folder / "alertmanager.yml").write_text(_routing(routes))
    return len(range(0, rules, 20)) + len(range(0, routes, 10))


def _group(first: int, rules: int) -> str:
    return f"- name: g{first}\n  rules:\n" + "".join(_rule(n) for n in range(first, min(first + 10, rules)))


def _rule(n: int) -> str:
    expression = (_DEFECT if n % 20 == 0 else _EXPRESSIONS[n % 4]).format(n=n % SERVICES)
    severity = ("critical", "warning")[n % 2]
    return (
        f"  - alert: Alert{n}\n    expr: {json.dumps(expression)}\n    for: 5s\n"
        f"    labels: {{severity: {severity}, team: team{n % 200}, service: s{n % SERVICES}}}\n"
        f"    annotations: {{summary: 'alert {n}', description: 'it is {{{{ $value }}}}'}}\n"
    )


def _page(n: int) -> str:
    buckets = "".join(
        f's{n}_request_seconds_bucket{{le="{le}",path="/{path}"}} 1\n'
        for path in range(3) for le in ("0.1", "0.5", "1", "5", "+Inf")
    )  # fmt: skip
    counts = "".join(f's{n}_requests_total{{status="{status}",path="/"}} 1\n' for status in (200, 404, 503))
    return f"{buckets}{counts}s{n}_queue_depth 3\n"


def _routing(routes: int) -> str:
    tree = "".join(
        f"  - {{matchers: ['team=\"{'nobody' if n % 10 == 0 else 'team'}{n}\"', 'severity=~\"critical|warning\"'], "
        f"receiver: r{n}}}\n" for n in range(routes)
    )  # fmt: skip
    named = "".join(f"- {{name: r{n}, slack_configs: [{{channel: '#{n}'}}]}}\n" for n in range(routes))
    muted = "".join(
        f"- {{source_matchers: ['alertname=\"Alert{n}\"'], target_matchers: ['service=\"s{n}\"'], equal: [instance]}}\n"
        for n in range(20)
    )
    inhibited = f"inhibit_rules:\n{muted}"
    return f"{_SLACK}route:\n  receiver: r1\n  routes:\n{tree}receivers:\n{named}{inhibited}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--routes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrong = write(folder, options.rules, options.routes)
        for _ in range(options.runs):
            rows.append(_once(folder, options) | {"seeded": wrong})
            print(rows[-1], flush=True)
    print("wall, s:", stand.spread(row["wall_s"] for row in rows))
    print("processor, s:", stand.spread(row["cpu_s"] for row in rows))
    print(stand.keep("linting", rows))


def _once(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [*stand.PRODUCT, "lint", "alerts", "--json", "--prometheus-config", str(folder / "prometheus.yml")]
    command += ["--alertmanager-config", str(folder / "alertmanager.yml"), "--metrics", str(folder / "metrics.txt")]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, cwd=stand.ROOT, check=False)
    took, after = round(time.monotonic() - started, 3), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)
    found = [one["code"] for one in json.loads(done.stdout)["findings"]]
    seeded = found.count("metric-absent") + found.count("route-untaken")
    return {
        "rules": options.rules,
        "routes": options.routes,
        "exit": done.returncode,
        "found": seeded,
        "wall_s": took,
        "cpu_s": cpu,
    }


if __name__ == "__main__":
    main()
