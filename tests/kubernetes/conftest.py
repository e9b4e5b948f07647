"""The real cluster, as the product reaches it."""

from __future__ import annotations

import pytest

from veloz_chaos.mechanisms.kube_api import Api, client


@pytest.fixture(scope="session")
def kubernetes(kubeconfig: str) -> Api:  # noqa: ARG001 -- it is in KUBECONFIG
    """A client of the cluster that tests may use."""
    return client()
