"""The runner as a Job of `deploy/kubernetes`, in its own image: a run, and the one after a run that was lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes import pods
from tests.kubernetes.deployed import SMALL, Deployed, cut, deployed, image
from tests.kubernetes.pods import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def there() -> Iterator[Deployed]:
    image()
    with deployed() as made:
        yield made


def test_a_run_ends_as_its_verdict_says_and_leaves_nothing(there: Deployed) -> None:
    lab = pods.settled(there.system, there.system)
    place = {"namespace": there.system.name, "owner": "deployment/app"}
    reported = {"kubernetes": place, "ok": "json.ready < json.desired", "every": "100ms", "timeout": "2s"}
    served = {"kubernetes": place, "every": "100ms", "timeout": "5s"}
    expected = {"detection": ["reported"], "recovery": {"hold": "1s"}}
    there.on(
        SMALL | {"failure": "gateway-crash", "fault": {"kill": {"service": "app"}}, "expect": expected},
        {"services": {"app": {"kubernetes": place}}, "probes": {"served": served, "reported": reported}},
    )
    before = lab.pod()["metadata"]["uid"]
    there.start()
    assert there.ended() == "Complete", there.said()
    assert "PASSED small" in there.said()
    assert lab.pod()["metadata"]["uid"] != before
    assert there.lost() == []


def test_the_next_run_reports_and_closes_what_a_lost_one_left(there: Deployed) -> None:
    """The runner and all of its pod die at once, guardian and all."""
    lab = pods.settled(there.system, there.system)
    there.on(*cut(lab, "15s"))
    there.start()
    until(lab.traces, 120)
    (left,) = there.lost()
    there.kill()
    until(lambda: not lab.traces())
    assert there.ended() == "Failed"
    assert there.lost() == [left]
    there.start()
    assert there.ended() == "Complete", there.said()
    assert left.removeprefix("veloz-chaos-") in there.said()
    assert "PASSED small" in there.said()
    assert there.lost() == []
