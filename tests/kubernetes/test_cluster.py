"""The cluster of the tests is what they take it for."""

from __future__ import annotations

import pytest

from tests.infra.cluster import TOOLS, Namespace, Refused

pytestmark = pytest.mark.kubernetes


def test_hardened_pods_answer_each_other_by_name(namespace: Namespace) -> None:
    assert len(namespace.pods("web", 2)) == 2
    namespace.kubectl("expose", "deployment/web", "--port=80", "--target-port=8080")
    asking = namespace.pod("asking", image=TOOLS, command=["sleep", "1000"])
    words = ("curl", "-sS", "--max-time", "2", "--retry", "5", "--retry-all-errors", "http://web/")
    assert "hello from web-" in namespace.kubectl("exec", asking, "--", *words)
    assert "uid=10001" in namespace.kubectl("exec", asking, "--", "id")


def test_a_hardened_pod_cannot_write(namespace: Namespace) -> None:
    pod = namespace.pod("asking", image=TOOLS, command=["sleep", "1000"])
    with pytest.raises(Refused, match="Read-only file system"):
        namespace.kubectl("exec", pod, "--", "touch", "/tmp/new")
