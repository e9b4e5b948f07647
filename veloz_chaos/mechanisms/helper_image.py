"""The image of the helper container: found by a hash of its content, or built from this very package on first need."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import docker_api

if TYPE_CHECKING:
    from docker.api.client import APIClient

NAMED = "VELOZ_CHAOS_HELPER_IMAGE"
REPOSITORY = "veloz-chaos-helper"
LABEL = "veloz-chaos.helper"
PACKAGE = Path(__file__).parents[1]
RECIPE = "veloz_chaos/helper/Dockerfile"
#: What of the package runs inside.
ROOMS = ("core", "mechanisms", "proxy")
#: Handed on to the build where the environment has them: how packages are reached from here.
ARGUMENTS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")
_BUILDING = threading.Lock()


@cache
def content() -> Mapping[str, bytes]:
    """Path in the build context -> what is in the file."""
    files = [PACKAGE / "__init__.py", PACKAGE / "errors.py", PACKAGE / "helper" / "Dockerfile"]
    files += [file for room in ROOMS for file in sorted((PACKAGE / room).rglob("*.py"))]
    return {f"veloz_chaos/{file.relative_to(PACKAGE).as_posix()}": file.read_bytes() for file in files}


@cache
def tag() -> str:
    """Of the image that belongs to this version of the package, whatever its number says."""
    digest = hashlib.sha256()
    for path, data in sorted(content().items()):
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def name() -> str:
    """The image that will be used: the one that the environment names, or ours."""
    return os.environ.get(NAMED) or tag()


def there(api: APIClient, image: str | None = None) -> bool:
    try:
        with docker_api.asking(api):
            api.inspect_image(image or name())  # type: ignore[no-untyped-call]
    except (Missing, Gone):
        return False
    return True


def ensure(place: docker_api.Place) -> str:
    """The name of an image that is there. Raises Unavailable if none is there and none can be built."""
    api = docker_api.client(place)
    if there(api):
        return name()
    if os.environ.get(NAMED):
        raise Unavailable(f"the helper image {name()} ({NAMED}) is not there; `{place.words} pull` it, or unset that")
    with _BUILDING:
        if not there(api):
            build(docker_api.client(place, docker_api.BUILD_PATIENCE))
    return tag()


def build(api: APIClient) -> None:
    """From what is installed here, at the daemon."""
    arguments = {key: os.environ[key] for key in ARGUMENTS if os.environ.get(key)}
    try:
        with docker_api.asking(api):
            lines = api.build(
                fileobj=_context(content()), custom_context=True, dockerfile=RECIPE, tag=tag(), rm=True, forcerm=True,
                decode=True, buildargs=arguments, network_mode="host", labels={LABEL: tag().rpartition(":")[2]},
            )  # fmt: skip
            failure = _failure(lines)
    except TargetError as error:
        failure = str(error)
    if failure:
        raise Unavailable(
            f"the helper image cannot be built: {failure}; build it where Docker Hub, PyPI and Debian can be reached "
            f"(docker build -f {RECIPE} .), load it into this engine, and name it in {NAMED}"
        )


def _context(files: Mapping[str, bytes]) -> io.BytesIO:
    """Without times or owners: what is the same is built once."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    packed.seek(0)
    return packed


def _failure(lines: Iterable[Mapping[str, Any]]) -> str:
    """The error of a build, with the last words of the step that failed; empty if it went well."""
    said: list[str] = []
    for line in lines:
        if "error" in line:
            return "; ".join([str(line["error"]).strip(), *said[-2:]])
        if text := str(line.get("stream", "")).strip():
            said.append(text)
    return ""
