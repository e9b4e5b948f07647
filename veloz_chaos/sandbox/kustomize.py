"""What `kubectl kustomize` makes of a folder, so far as `environments/kubernetes/` needs it, without kubectl.

Of a kustomization: `resources` (files and folders), `namespace`, `labels` (pairs, includeTemplates), `patches`
(strategic merge, by path or inline, for a target of a kind and name, or for the object that they name) and `images`.
Anything else is refused: what is not understood is not applied in part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from veloz_chaos.errors import UsageError

Object = dict[str, Any]
FILE = "kustomization.yaml"
KNOWN = {"apiVersion", "kind", "resources", "namespace", "labels", "patches", "images"}
#: Lists whose entries are merged by one of their fields; all other lists are replaced.
MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
DIRECTIVE = "$patch"
WITHOUT_NAMESPACE = ("Namespace", "PersistentVolume", "ClusterRole", "ClusterRoleBinding")


def rendered(folder: Path) -> list[Object]:
    """The objects, in the order in which they are listed. Raises UsageError."""
    file = folder / FILE
    try:
        asked = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as problem:
        raise UsageError(f"{file}: {problem}") from None
    if unknown := sorted(set(asked) - KNOWN):
        raise UsageError(f"{file}: `{unknown[0]}` is not understood here; apply it by kubectl, or leave it out")
    objects = [one for name in asked.get("resources", ()) for one in _resource(folder / name)]
    for patch in asked.get("patches", ()):
        objects = _patched(objects, folder, patch)
    for one in objects:
        _finish(one, asked)
    return objects


def _resource(place: Path) -> Iterator[Object]:
    if place.is_dir():
        yield from rendered(place)
        return
    yield from _documents(place)


def _documents(file: Path) -> Iterator[Object]:
    try:
        yield from (one for one in yaml.safe_load_all(file.read_text()) if one)
    except (OSError, yaml.YAMLError) as problem:
        raise UsageError(f"{file}: {problem}") from None


def _patched(objects: list[Object], folder: Path, patch: Object) -> list[Object]:
    texts = [yaml.safe_load(patch["patch"])] if "patch" in patch else list(_documents(folder / patch["path"]))
    for text in texts:
        target = patch.get("target") or {"kind": text["kind"], "name": text["metadata"]["name"]}
        concerned = [one for one in objects if _is(one, target)]
        if not concerned:
            raise UsageError(f"{folder / FILE}: nothing here is {target}, which a patch is for")
        if text.get(DIRECTIVE) == "delete":
            objects = [one for one in objects if one not in concerned]
        for one in concerned:
            changes = {key: value for key, value in text.items() if key not in ("apiVersion", "kind", "metadata")}
            one.update(merged(one, changes))
    return objects


def _is(one: Object, target: Object) -> bool:
    return one["kind"] == target["kind"] and target.get("name") in (None, one["metadata"]["name"])


def merged(old: Any, new: Any, key: str = "") -> Any:
    """The old value with the new one's changes: maps go into each other, so do lists of named things."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: merged(old.get(name), value, name) for name, value in new.items()}}
    by = MERGED_BY.get(key)
    if by and isinstance(old, list) and isinstance(new, list):
        changes = {one[by]: one for one in new}
        kept = [merged(one, changes.pop(one[by])) if one[by] in changes else one for one in old]
        return [*kept, *copy.deepcopy(list(changes.values()))]
    return copy.deepcopy(new)


def _finish(one: Object, asked: Object) -> None:
    """Namespace, labels and images."""
    metadata = one["metadata"]
    if "namespace" in asked and one["kind"] not in WITHOUT_NAMESPACE:
        metadata["namespace"] = asked["namespace"]
    template = one.get("spec", {}).get("template")
    for label in asked.get("labels", ()):
        metadata["labels"] = {**metadata.get("labels", {}), **label["pairs"]}
        if template and label.get("includeTemplates"):
            template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), **label["pairs"]}
    for container in containers(one):
        container["image"] = _renamed(container["image"], asked.get("images", ()))


def _renamed(image: str, images: list[Object]) -> str:
    for one in images:
        if image == one["name"]:
            return f"{one.get('newName', image)}:{one['newTag']}" if "newTag" in one else one["newName"]
    return image


def containers(one: Object) -> list[Object]:
    """Of an object with a pod's template; of any other none."""
    found: list[Object] = one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return found
