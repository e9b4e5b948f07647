"""A file inside a pod: its size and age by a helper's word, with nothing started in the pod itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, replace
from typing import Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from veloz_chaos.errors import Gone, Missing, Unavailable
from veloz_chaos.mechanisms import kube_api, kube_pods, pod_helpers
from veloz_chaos.mechanisms.beside import LOOK
from veloz_chaos.mechanisms.beside_pod import Beside
from veloz_chaos.mechanisms.file_told import Told
from veloz_chaos.mechanisms.kube_api import Place
from veloz_chaos.mechanisms.kube_find import found, require_one_way
from veloz_chaos.mechanisms.kube_pods import Wanted
from veloz_chaos.mechanisms.pod_helpers import Helpers


@dataclass(config=ConfigDict(extra="forbid"))
class Files:
    """Exactly one of selector (labels), owner and pod, in a namespace; `helpers`: where helpers may run."""

    namespace: str
    helpers: Helpers
    selector: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    pod: str | None = None
    container: str | None = None
    image: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if "${" not in str(self.owner):
            require_one_way(self.wanted)
        return self

    def filled(self, fill: Callable[[str], str]) -> Self:
        texts = {key: fill(value) for key, value in vars(self).items() if isinstance(value, str)}
        return replace(self, **texts, selector={key: fill(value) for key, value in self.selector.items()})

    @property
    def wanted(self) -> Wanted:
        return Wanted(tuple(sorted(self.selector.items())), self.owner, self.pod)


class Inside:
    """One path, over all looks; of several pods the eldest that runs."""

    def __init__(self, files: Files, path: str) -> None:
        self._files, self._path = files, path
        self._beside: Beside | None = None
        self._finding = threading.Lock()

    def find(self) -> None:
        """Have a helper beside it. Raises TargetError."""
        files = self._files
        place = Place(files.context, files.kubeconfig)
        pod = found(kube_api.client(place), files.namespace, files.wanted)[0]
        container = kube_pods.chosen(pod, files.container)
        if container is None:
            raise Missing(f"pod {kube_pods.name_of(pod)} has no container {files.container}")
        beside = pod_helpers.beside(pod_helpers.identity(pod, container, place, files.helpers, files.image or ""))
        beside.obtain(LOOK)
        self._beside = beside

    def look(self) -> Told:
        """Raises Gone (no such file), Missing (no pod), Unavailable."""
        beside = self._beside
        if beside is not None:
            with suppress(Gone):
                beside.state()
                return Told(**beside.call(LOOK, "file", path=self._path))
            if beside.alive() and not any(helper.saw_the_end for helper in beside.own(LOOK)):
                raise Gone("missing")
            self._beside = None  # its files are gone with it, and the kernel may say so before the platform
        if not self._finding.acquire(blocking=False):
            raise Unavailable("the helper beside the new pod is being started")
        try:
            self.find()
        except Gone as error:  # the container is, which says nothing of its successor's files
            raise Unavailable(str(error)) from error
        finally:
            self._finding.release()
        assert self._beside is not None
        return Told(**self._beside.call(LOOK, "file", path=self._path))
