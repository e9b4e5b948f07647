"""Evidence bundles: the same bytes from the same runs, and whatever was changed in one is found and named."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.unit.cli_runs import Paper, write
from veloz_chaos.cli.app import start
from veloz_chaos.core import evidence
from veloz_chaos.engine import bundle, evidencing

KEYGEN = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen here")
RUN = "20260101T000000Z-engine-crash-0badcafe"
Files = dict[str, bytes]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write(tmp_path / "runs", Paper())
    write(tmp_path / "runs", Paper(run="1badcafe", recovered=12.0, watched=20.0), "20260102T000000Z-engine-crash")
    return tmp_path / "runs"


@pytest.fixture
def made(runs: Path, tmp_path: Path) -> Path:
    path = tmp_path / "b.tar.gz"
    assert start(["evidence", "make", "0badcafe", "--runs", str(runs), "-o", str(path)]) == 0
    return path


def verify(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    capsys.readouterr()
    code = start(["evidence", "verify", str(path), *more])
    said = capsys.readouterr()
    return code, said.out + said.err


def repacked(path: Path, change: Callable[[Files], object], *, listed: bool = False) -> Path:
    """As somebody would who knows how bundles are packed; `listed`: with a manifest of what is in it now."""
    files = dict(bundle.unpack(path.read_bytes()).files)
    change(files)
    if listed:
        del files[evidence.MANIFEST]
        files[evidence.MANIFEST] = evidencing.manifest(files).encode()
    path.write_bytes(bundle.pack(files))
    return path


def test_a_bundle_holds_all_of_a_run_and_is_the_same_each_time(runs: Path, made: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    with tarfile.open(made) as archive:
        names = archive.getnames()
        assert all(member.mtime == 0 and member.uid == 0 for member in archive)
    kept = ["journal.jsonl", "judgement.json", "minutes.txt", "plan.json", "report.txt"]
    assert names == [*(f"{RUN}/{name}" for name in kept), "MANIFEST", "versions.json"]
    again = tmp_path / "again.tar.gz"
    start(["evidence", "make", str(runs / RUN), "-o", str(again)])
    assert again.read_bytes() == made.read_bytes()
    assert gzip.decompress(made.read_bytes()) == bundle._tar(bundle.unpack(made.read_bytes()).files)
    code, said = verify(made, capsys)
    assert code == 0
    assert "each judgement is what its journal says" in said
    assert "not signed" in said


def test_several_runs_and_those_that_failed(runs: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "two.tar.gz"
    assert start(["evidence", "make", "0badcafe", "1badcafe", "--runs", str(runs), "-o", str(path)]) == 0
    assert verify(path, capsys)[0] == 0
    files = bundle.unpack(path.read_bytes()).files
    judged = json.loads(files["20260102T000000Z-engine-crash-1badcafe/judgement.json"])
    assert (judged["exit_code"], judged["runs"][0]["verdict"]) == (1, "failed")
    assert str(tmp_path).encode() not in files[f"{RUN}/judgement.json"]


def test_any_flipped_bit_is_found(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    whole, random = made.read_bytes(), Random(7)
    places = {*range(90), *range(len(whole) - 12, len(whole)), *(random.randrange(len(whole)) for _ in range(40))}
    for place in sorted(places):
        bit = 1 << random.randrange(8)
        made.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        code, said = verify(made, capsys)
        assert code in (1, 2), f"byte {place}"
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "judgement.json", "minutes.txt", "plan.json", "report.txt"]
)  # fmt: skip
def test_a_changed_file_is_named(made: Path, capsys, name: str) -> None:  # type: ignore[no-untyped-def]
    def flip(files: Files) -> None:
        data = bytearray(files[f"{RUN}/{name}"])
        data[len(data) // 2] ^= 1
        files[f"{RUN}/{name}"] = bytes(data)

    code, said = verify(repacked(made, flip), capsys)
    assert code == 1
    assert f"{RUN}/{name}: was changed" in said


def test_added_removed_and_renamed_files_are_named(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    whole = made.read_bytes()
    _, said = verify(repacked(made, lambda files: files.update({f"{RUN}/more.txt": b"x"})), capsys)
    assert f"{RUN}/more.txt: was added" in said
    made.write_bytes(whole)
    code, said = verify(repacked(made, lambda files: files.pop(f"{RUN}/report.txt")), capsys)
    assert (code, f"{RUN}/report.txt: was removed" in said) == (1, True)
    made.write_bytes(whole)
    change = lambda files: files.update({f"{RUN}/summary.txt": files.pop(f"{RUN}/report.txt")})  # noqa: E731
    _, said = verify(repacked(made, change), capsys)
    assert f"{RUN}/report.txt: was renamed to {RUN}/summary.txt" in said
    assert "was added" not in said
    made.write_bytes(whole)
    _, said = verify(repacked(made, lambda files: files.pop("MANIFEST")), capsys)
    assert "MANIFEST: is not there" in said


def test_an_edited_manifest_is_named_by_its_line(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    whole = made.read_bytes()
    lines = bundle.unpack(whole).files["MANIFEST"].decode().splitlines(keepends=True)
    edits = {
        "its end is cut off": "".join(lines)[:-1],
        "MANIFEST:3: does not follow": "".join([lines[0], lines[1].replace("0", "1"), *lines[2:]]),
        "MANIFEST:3: is no line": "".join([*lines[:2], "nonsense\n", *lines[3:]]),
        f"MANIFEST:{len(lines) - 1}: speaks of": "".join([*lines[:-2], lines[-1]]),
        "MANIFEST:1: does not begin": "".join(["veloz-chaos evidence 2\n", *lines[1:]]),
    }
    for wanted, text in edits.items():
        made.write_bytes(whole)
        code, said = verify(repacked(made, lambda files, text=text: files.update(MANIFEST=text.encode())), capsys)  # type: ignore[misc]
        assert code == 1
        assert wanted in said


def test_a_forged_judgement_is_found_by_judging_again(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    def forge(files: Files) -> None:
        text = files[f"{RUN}/judgement.json"].decode()
        files[f"{RUN}/judgement.json"] = text.replace('"verdict": "passed"', '"verdict": "failed"').encode()

    seal = evidence.read(bundle.unpack(made.read_bytes()).files["MANIFEST"].decode()).seal
    assert verify(made, capsys, "--seal", seal)[0] == 0
    code, said = verify(repacked(made, forge, listed=True), capsys)
    assert code == 1
    assert "says failed (exit 0); by the journal it is passed (exit 0)" in said
    assert "was changed" not in said
    assert "not the one given" in verify(made, capsys, "--seal", seal)[1]


def test_a_report_and_a_plan_that_the_journal_does_not_tell(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    change = lambda files: files.update({f"{RUN}/report.txt": b"all is well\n", f"{RUN}/approvals.json": b"[]\n"})  # noqa: E731
    _, said = verify(repacked(made, change, listed=True), capsys)
    assert f"{RUN}/report.txt: is not what the journal says" in said
    assert f"{RUN}/approvals.json: is not what the journal says" in said


def test_what_belongs_to_no_run_is_named_and_never_takes_the_journals_place(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    def add(files: Files) -> None:
        files[f"{RUN}/orders/journal.jsonl"] = files[f"{RUN}/journal.jsonl"].replace(b"not-shown", b"shown")
        files[f"{RUN}/notes.txt"] = b"all is well\n"

    code, said = verify(repacked(made, add, listed=True), capsys)
    assert code == 1
    assert f"{RUN}/notes.txt: is no part of a run's evidence" in said
    assert f"{RUN}/orders/journal.jsonl: is no part" in said
    assert "2 problems" in said


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "c:\\out", "a//b", ""])
def test_bad_paths_are_refused_and_nothing_is_written(tmp_path: Path, made: Path, capsys, path: str) -> None:  # type: ignore[no-untyped-def]
    code, said = verify(_tar(made, tarfile.TarInfo(path)), capsys)
    assert code == 1
    assert "refused: its" in said
    assert not (tmp_path.parent / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_the_like_are_refused(made: Path, capsys, kind: bytes) -> None:  # type: ignore[no-untyped-def]
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    code, said = verify(_tar(made, member), capsys)
    assert (code, "'link': refused: no plain file" in said) == (1, True)


def test_a_trap_of_zeros_is_not_unpacked(made: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(evidence, "LARGEST_IN_ALL", 1 << 20)
    monkeypatch.setattr(evidence, "MOST", 10)
    for packed in (gzip.compress(bytes(40 << 20)), bundle._sealed(bytes(40 << 20))):
        made.write_bytes(packed)
        code, said = verify(made, capsys)
        assert code == 1
        assert "holds more than any bundle does" in said


def test_a_bundle_that_another_tool_packed_again_is_still_told_by_its_files(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    files = dict(bundle.unpack(made.read_bytes()).files)
    files[f"{RUN}/report.txt"] += b"all is well\n"
    made.write_bytes(gzip.compress(bundle._tar(files)))
    code, said = verify(made, capsys)
    assert code == 1
    assert "no veloz-chaos packed it" in said
    assert f"{RUN}/report.txt: was changed" in said


def test_a_member_that_claims_to_be_huge(made: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    member = tarfile.TarInfo("huge")
    member.size = evidence.LARGEST + 1
    code, said = verify(_tar(made, member, b""), capsys)
    assert code == 1
    assert "'huge': refused: it is larger than 256 MiB" in said


def _tar(path: Path, member: tarfile.TarInfo, content: bytes | None = None) -> Path:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in bundle.unpack(path.read_bytes()).files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        archive.addfile(member, None if content is not None else io.BytesIO(b""))
    path.write_bytes(bundle._sealed(held.getvalue()))
    return path


def test_what_is_no_bundle(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "x").write_bytes(b"hello")
    code, said = verify(tmp_path / "x", capsys)
    assert (code, "is no evidence bundle" in said) == (2, True)
    assert verify(tmp_path / "nothing", capsys)[0] == 2
    (tmp_path / "empty").write_bytes(b"")
    assert verify(tmp_path / "empty", capsys)[0] == 2


def test_no_bundle_of_a_run_without_an_end_nor_over_another(runs: Path, made: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    open_ = write(runs, Paper(ended=False, run="2badcafe"))
    assert start(["evidence", "make", str(open_), "-o", str(tmp_path / "c.tar.gz")]) == 2
    assert "the run has no end" in capsys.readouterr().err
    assert not (tmp_path / "c.tar.gz").exists()
    assert start(["evidence", "make", "1badcafe", "--runs", str(runs), "-o", str(made)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert start(["evidence", "make", str(runs / RUN), str(runs / RUN), "-o", str(tmp_path / "d")]) == 2
    assert "twice" in capsys.readouterr().err


def test_a_run_that_holds_a_secret_is_refused(runs: Path, tmp_path: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    journal = runs / RUN / "journal.jsonl"
    text = journal.read_text().replace('"get":"http://x/"', '"get":"http://x/${env:VELOZ_TEST_TOKEN}"', 1)
    journal.write_text(text.replace('"reason":"503"', '"reason":"503 s3cret-t0ken"', 1))
    monkeypatch.setenv("VELOZ_TEST_TOKEN", "s3cret-t0ken")
    path = tmp_path / "s.tar.gz"
    assert start(["evidence", "make", str(runs / RUN), "-o", str(path)]) == 2
    said = capsys.readouterr().err
    assert "journal.jsonl holds the value of ${env:VELOZ_TEST_TOKEN}" in said
    assert "s3cret" not in said
    assert not path.exists()
    monkeypatch.setenv("VELOZ_TEST_TOKEN", "an0ther-t0ken")
    assert start(["evidence", "make", str(runs / RUN), "-o", str(path)]) == 0


def key(folder: Path, name: str) -> Path:
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def allowed(folder: Path, **keys: Path) -> Path:
    path = folder / "allowed-signers"
    lines = [f"{name}@example.com {public.with_suffix('.pub').read_text()}" for name, public in keys.items()]
    path.write_text("".join(lines))
    return path


@KEYGEN
def test_signatures(runs: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    alice, mallory = key(tmp_path, "alice"), key(tmp_path, "mallory")
    signers, path = allowed(tmp_path, alice=alice), tmp_path / "signed.tar.gz"
    assert start(["evidence", "make", str(runs / RUN), "-o", str(path), "--sign", str(alice)]) == 0
    code, said = verify(path, capsys, "--signers", str(signers))
    assert (code, "signed by alice@example.com" in said) == (0, True)
    assert "signed by the key SHA256:" in verify(path, capsys)[1]
    whole = path.read_bytes()

    def forge(files: Files) -> None:
        files["versions.json"] = b"{}\n"

    code, said = verify(repacked(path, forge, listed=True), capsys, "--signers", str(signers))
    assert (code, "the signature is not alice@example.com's" in said) == (1, True)
    path.write_bytes(whole)
    code, said = verify(repacked(path, lambda f: f.pop("MANIFEST.sig")), capsys, "--signers", str(signers))
    assert (code, "it is not signed" in said) == (1, True)
    other = tmp_path / "other.tar.gz"
    assert start(["evidence", "make", str(runs / RUN), "-o", str(other), "--sign", str(mallory)]) == 0
    code, said = verify(other, capsys, "--signers", str(signers))
    assert (code, "signed by nobody whom" in said) == (1, True)
    path.write_bytes(whole)
    change = lambda f: f.update({"MANIFEST.sig": b"-----BEGIN SSH SIGNATURE-----\nrubbish\n"})  # noqa: E731
    assert verify(repacked(path, change), capsys, "--signers", str(signers))[0] == 1
    assert start(["evidence", "make", str(runs / RUN), "-o", str(tmp_path / "n"), "--sign", str(tmp_path / "no")]) == 2
    assert sys.exc_info()[0] is None
