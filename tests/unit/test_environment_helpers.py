"""Helper pods on nodes: an environment that names a namespace for them must permit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from veloz_chaos.engine import files
from veloz_chaos.errors import InvalidFile

HEAD = "kind: Environment\nversion: 1\nname: x\ntier: development\n"
SERVICE = "services:\n  a: {kubernetes: {namespace: veloz, pod: p, helpers: H}}\n"
PROBE = "probes:\n  f: {file: {kubernetes: {namespace: veloz, pod: p, helpers: H}, path: /x}, every: 1s, timeout: 1s}\n"


def read(folder: Path, text: str, used: str = "") -> list[str]:
    """What is wrong with it."""
    path = folder / "environment.yaml"
    path.write_text(HEAD + ("uses: [used.yaml]\n" if used else "") + text)
    (folder / "used.yaml").write_text("kind: Environment\nversion: 1\n" + used)
    try:
        files.environment_as_written.cache_clear()  # the files of one name change
        files.environment(path)
    except InvalidFile as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


def test_each_place_that_names_one_is_told(tmp_path: Path) -> None:
    said = (
        "helpers on nodes are not permitted; say permit: {helpers: {node: true}} in environment.yaml if they may be, "
    )
    said += "or helpers: {in: pod}"
    assert read(tmp_path, SERVICE + PROBE) == [f"environment.yaml:6:55: {said}", f"environment.yaml:8:62: {said}"]
    assert read(tmp_path, SERVICE, used=PROBE)[1] == f"used.yaml:4:62: {said}"


@pytest.mark.parametrize("text", [SERVICE.replace("H", "{in: pod}"), SERVICE.replace(", helpers: H", "")])
def test_who_names_none_needs_no_permit(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == []


def test_a_permit_is_enough(tmp_path: Path) -> None:
    assert read(tmp_path, "permit: {helpers: {node: true}}\n" + SERVICE, used=PROBE) == []
