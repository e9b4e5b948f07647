"""The real cluster: by KUBECONFIG."""

from __future__ import annotations

import os

import pytest

from tests.infra.require import absent
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms.kube_api import Api, client


@pytest.fixture(scope="session")
def kubernetes() -> Api:
    """A client of the cluster that tests may use."""
    if not os.environ.get("KUBECONFIG"):
        absent("kubernetes", "KUBECONFIG names no cluster")
    try:
        api = client()
        api.get("/version")
    except TargetError as error:
        absent("kubernetes", str(error))
    return api
