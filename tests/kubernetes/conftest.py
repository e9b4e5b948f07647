"""The real cluster, as the product reaches it, and what tests make there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes import lab as labs
from tests.kubernetes.pods import image
from veloz_chaos.mechanisms.kube_api import Api, client


@pytest.fixture(scope="session")
def kubernetes(kubeconfig: str) -> Api:  # noqa: ARG001 -- it is in KUBECONFIG
    """A client of the cluster that tests may use."""
    return client()


@pytest.fixture
def lab() -> Iterator[labs.Lab]:
    with labs.lab() as made:
        yield made


@pytest.fixture
def helpers() -> Iterator[str]:
    """A namespace for helper pods, whose image every node has."""
    image()
    with labs.lab() as made:
        yield made.name
