"""Helpers in the pod itself: ephemeral containers, for clusters that allow no pods which share a node's namespaces.

For links one needs no more than the pod's network, which all its containers share; it outlives them. For processes and
volumes one shares the pid namespace of its target, and dies with its first process: nothing that it holds outlives it.
Where the pod's namespace admits none with capabilities, one runs as the target's own user and sends signals.

None can be removed: an ended entry stays in the pod for each. Nor can one be killed from outside: it is told to end
through its stdin, by whoever may attach.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from veloz_chaos.core.capability import Offer
from veloz_chaos.errors import Gone, TargetError, Unavailable
from veloz_chaos.mechanisms import kube_pods, kube_stream
from veloz_chaos.mechanisms.beside import LOOKS, PATIENCE, READY, Found
from veloz_chaos.mechanisms.beside_pod import OURS, SOON, Beside, attached, default_image, stem
from veloz_chaos.mechanisms.kube_api import Conflict, Forbidden, Json, path

#: What a helper may at most, for links and for processes and volumes.
NETWORK = ("NET_ADMIN", "NET_RAW")
PROCESSES = ("KILL", "SYS_PTRACE", "DAC_OVERRIDE", "DAC_READ_SEARCH")
_END = json.dumps({"id": 0, "call": "end"}).encode() + b"\n"
_ON_NODE = "write helpers: NAMESPACE, for a helper pod on its node"
_FIRST = (
    "the kernel lets nobody stop or kill the first process of a container from within; name another one by process: …, "
    f"or {_ON_NODE}"
)
_GROUPS = f"only its node sees the control groups of a container, and no helper in the pod does; {_ON_NODE}"
#: What needs no capability: signals to processes of one's own user.
_SIGNALS = ("Killable", "Pausable")
_WORDS = (
    ("NFQUEUE (netem where the kernel has it)", "NFQUEUE"),
    ("from outside its pid namespace", "from within its pid namespace"),
    ("a helper container", "an ephemeral container"),
    ("helper container", "ephemeral container"),
)
#: What it uses of memory, which is nobody's but the pod's.
_MEMORY = "and the pod's memory limit, if all its containers have one: the helper's own 30 MB count there"


@dataclass(frozen=True)
class InPod(Beside):
    """Of what one can do for links, and what for the container, see above."""

    entries: ClassVar[bool] = True

    def cannot(self, capability: str, process: int | None = None) -> str:
        if capability in ("Saturable", "Pressable", "Exhaustible"):
            return _GROUPS
        if capability in _SIGNALS and process in (None, 1):
            return _FIRST
        context, refused = self._admitted
        if context is None or (refused and capability not in _SIGNALS):
            return f"pod {self.pod} admits no ephemeral container that could: {refused}; {_ON_NODE}"
        return ""

    def worded(self, offer: Offer) -> Offer:
        if not any("helper" in text for text in (offer.mechanism, offer.undo, offer.expiry or "")):
            return offer
        by = "" if "helper" in offer.mechanism else "by an ephemeral container, "
        entry = (
            "one ended entry remains in the pod" if self.network else "an ended entry of each helper remains in the pod"
        )
        texts = {
            "mechanism": f"{offer.mechanism} ({by}{self._strength})",
            "touches": f"{offer.touches}; {_MEMORY}",
            "undo": f"{offer.undo}; {entry}",
        }
        if offer.expiry:
            texts["expiry"] = offer.expiry.replace("with its target", f"with its {'pod' if self.network else 'target'}")
        for word, ours in _WORDS:
            texts = {key: text.replace(word, ours) for key, text in texts.items()}
        return offer.model_copy(update=texts)

    def found(self, sign: str | None = None) -> list[Found]:
        """Those that run or may yet: one that has ended holds nothing. One that can't start is in nobody's way, but
        whoever ends those of its sign waits for it as long as its kubelet tries."""
        return [
            Found(name, name, of, runs=kube_pods.runs(status))
            for name, of, status in self._entries()
            if sign in (None, of) and not _over(status, patient=sign is not None)
        ]

    def stop(self, identity: str) -> None:
        deadline, told = time.monotonic() + PATIENCE, None
        try:
            while not _over(status := self._status(identity)):
                if told is None and kube_pods.runs(status):
                    with suppress(TargetError, OSError):  # it is about to end anyway, or is told again
                        told = self._tell(identity)
                if time.monotonic() > deadline:
                    if kube_pods.cannot_run([status]):
                        return  # it holds nothing, and should it start yet, it ends for want of work
                    raise Unavailable(
                        f"the ephemeral container {identity} of pod {self.pod} has not ended within {PATIENCE:g} s; it "
                        f"does so at its own expiry, or with its pod: {self._kubectl} delete pod {self.pod}"
                    )
                time.sleep(SOON)
        finally:
            if told is not None:
                told.close()

    def relieve(self, sign: str, call: str = "relieve") -> bool:
        """One that ended well has undone all it held: nobody need look after it by yet another one."""
        super().relieve(sign, call)
        return sign not in self._untidy()

    def ready(self) -> bool:
        """None is started without need: an entry remains of each."""
        return False

    def doubtful(self) -> bool:
        return any(not sign.startswith(LOOKS) for sign in self._untidy())

    def _untidy(self) -> set[str]:
        """The signs that may have left something by what their entries say: one has ended badly, and none that started
        later has ended well. (One that does has taken out what others of its sign left.)"""
        ends = [(sign, (status.get("state") or {}).get("terminated") or {}) for _, sign, status in self._entries()]
        good = [(sign, end.get("startedAt") or "") for sign, end in ends if end.get("exitCode") == 0]
        bad = [(sign, end.get("finishedAt")) for sign, end in ends if end.get("exitCode")]
        return {sign for sign, at in bad if not (at and any(of == sign and start >= at for of, start in good))}

    def by_hand(self, sign: str) -> str:
        names = '{range .status.ephemeralContainerStatuses[?(@.state.running)]}{.name}{"\\n"}{end}'
        return (
            f"{self._kubectl} get pod {self.pod} -o jsonpath='{names}' | grep -- {OURS}{stem(sign)}- | "
            f"xargs -I% {self._kubectl} attach {self.pod} -c % -i"
        )

    def told(self, one: Found) -> str:
        return (
            f"ephemeral container {one.name} of {one.sign} still runs in pod {self.pod}; end it by: "
            f"{self.by_hand(one.sign)}"
        )

    def remains(self) -> str:
        """Of whichever run."""
        number = len(list(self._ours()))
        entries = "one ended entry of ours remains" if number == 1 else f"{number} ended entries of ours remain"
        return f"{entries} in pod {self.pod}" if number else ""

    # --- one of them -------------------------------------------------------------------------------------------

    def _make(self, name: str, sign: str) -> None:
        context, refused = self._admitted
        if context is None:
            raise Unavailable(f"pod {self.pod} admits no ephemeral container: {refused}; {_ON_NODE}")
        if any(one["name"] == name for one in self.state()["spec"].get("ephemeralContainers") or []):
            raise TargetError(f"pod {self.pod} has an ephemeral container named {name} already; try again")
        self._add(self._container(name, sign, context))

    def _runs(self, name: str) -> bool:
        status = self._status(name)
        if _over(status):
            why = kube_pods.cannot_run([status]) or f"it has ended at once, exit {kube_pods.exit_code(status)}"
            raise Unavailable(f"the ephemeral container {name} of pod {self.pod} can't start: {why}")
        return kube_pods.runs(status)

    def _late(self, name: str) -> str:
        why = kube_pods.cannot_run([self._status(name)]) or f"see {self._kubectl} describe pod {self.pod}"
        return f"the ephemeral container {name} has not started in pod {self.pod} within {READY:g} s: {why}"

    def _tell(self, name: str) -> kube_stream.Stream:
        """To end; the connection must be kept until it has. Raises TargetError, OSError."""
        stream = self._attach(name)
        try:
            stream.send(_END)
        except BaseException:
            stream.close()
            raise
        return stream

    def _attach(self, name: str) -> kube_stream.Stream:
        return kube_stream.connect(self.api, path("pods", self.namespace, self.pod, "attach"), attached(name))

    def _entries(self) -> Iterator[tuple[str, str, Json]]:
        """Name, sign and status of each that was ever made for this place."""
        for name, (sign, *mode), status in self._ours():
            if mode == self._mode:
                yield name, sign, status

    def _ours(self) -> Iterator[tuple[str, list[str], Json]]:
        """Name, arguments and status of each that was ever made in this pod. A pod that is gone has none."""
        pod = self.inspect()
        if pod is None or pod["metadata"]["uid"] != self.uid:
            return
        told = {one["name"]: one for one in pod["status"].get("ephemeralContainerStatuses") or []}
        for one in pod["spec"].get("ephemeralContainers") or []:
            if one["name"].startswith(OURS) and one.get("args"):
                yield one["name"], one["args"], told.get(one["name"], {})

    def _status(self, name: str) -> Json:
        """As of one that has ended, if there is none of that name any more."""
        gone: Json = {"state": {"terminated": {}}}
        return next((status for one, _, status in self._entries() if one == name), gone)

    # --- what it may -------------------------------------------------------------------------------------------

    @property
    def _mode(self) -> list[str]:
        """What its helpers are told, after their sign."""
        return ["--network"] if self.network else ["--within", self.container_id]

    @property
    def _strength(self) -> str:
        context = self._admitted[0] or {}
        able = context.get("capabilities", {}).get("add")
        return f"as root with {', '.join(able)}" if able else f"as the target's own user {context.get('runAsUser')}"

    @cached_property
    def _admitted(self) -> tuple[Mapping[str, Any] | None, str]:
        """The strongest security context that the server admits now, and why none that is stronger."""
        refused = ""
        for context in self._contexts():
            try:
                self._add(self._container(f"{OURS}dry-run", "vc-dry-run", context), dryRun="All")
            except Forbidden as error:
                return None, str(error)
            except (Gone, Conflict, Unavailable):
                self.state()
                raise
            except TargetError as error:
                refused = refused or str(error)
            else:
                return context, refused
        return None, refused

    def _contexts(self) -> Iterator[Mapping[str, Any]]:
        """Root with a few capabilities; or, which has none, the user that the target runs as."""
        common = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        able = {"drop": ["ALL"], "add": list(NETWORK if self.network else PROCESSES)}
        yield {**common, "runAsUser": 0, "runAsNonRoot": False, "capabilities": able}
        who = {} if self.network else kube_pods.user_of(self.state(), self.container)
        if who:
            yield {**common, **who, "runAsNonRoot": who["runAsUser"] != 0, "capabilities": {"drop": ["ALL"]}}

    def _container(self, name: str, sign: str, context: Mapping[str, Any]) -> Json:
        return {
            "name": name,
            "image": self.image or default_image(),
            "imagePullPolicy": "IfNotPresent",
            "args": [sign, *self._mode],
            "stdin": True,
            "stdinOnce": True,
            "securityContext": dict(context),
            **({} if self.network else {"targetContainerName": self.container}),
        }

    def _add(self, container: Json, **query: str) -> None:
        body = {"metadata": {"uid": self.uid}, "spec": {"ephemeralContainers": [container]}}
        where = path("pods", self.namespace, self.pod, "ephemeralcontainers")
        self.api.patch(where, body, "strategic", **query)

    @property
    def _kubectl(self) -> str:
        return f"{self.cluster.words} -n {self.namespace}"


def _over(status: Json, *, patient: bool = True) -> bool:
    """Has it ended, or will it never start? `patient`: it may as long as its kubelet tries again."""
    return "terminated" in (status.get("state") or {}) or bool(kube_pods.cannot_run([status], patient=patient))
