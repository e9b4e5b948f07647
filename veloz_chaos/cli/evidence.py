"""`veloz-chaos evidence`: runs as one file that an auditor can check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import options, screen
from veloz_chaos.core import evidence
from veloz_chaos.engine import bundle, evidencing, signing
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import FAILED, PASSED, UsageError

app = options.group("Make and check evidence: runs as one file that can't change unseen.")


@app.callback()
def _group() -> None:
    """Make and check evidence: runs as one file that can't change unseen."""


@app.command()
def make(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Their folders or ids.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else evidence-RUN.tar.gz here.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this SSH key.")] = None,
    runs: options.Runs = Path("runs"),
) -> int:
    """Bundle runs: plan, approvals, journal, orders, judgement, report, versions."""
    folders = [journals.find(runs, name) for name in names]
    files = evidencing.gather(folders)
    listed = evidencing.manifest(files).encode()
    files[evidence.MANIFEST] = listed
    if key is not None:
        files[evidence.SIGNATURE] = signing.sign(listed, key).encode()
    path = output or Path(f"evidence-{folders[0].stem}{f'-and-{len(folders) - 1}' if folders[1:] else ''}.tar.gz")
    _write(path, bundle.pack(files))
    signed = ", signed" if key is not None else ""
    screen.out(
        f"{path}: {len(folders)} run{'s'[: len(folders) > 1]} in {len(files)} files{signed}",
        f"seal {evidence.read(listed.decode()).seal}",
    )
    return PASSED


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")],
    signers: Annotated[
        Path | None, typer.Option("--signers", metavar="FILE", help="Allowed signers: it must be signed by one.")
    ] = None,
    seal: Annotated[str | None, typer.Option("--seal", metavar="HASH", help="It must have this seal.")] = None,
) -> int:
    """Check that nothing in a bundle was changed, and judge its journals again."""
    try:
        found = bundle.unpack(_read(file))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    files = dict(found.files)
    listed, signature = files.pop(evidence.MANIFEST, b""), files.pop(evidence.SIGNATURE, b"")
    manifest = evidence.read(listed.decode("utf-8", "replace"))
    problems = [*found.problems, *(manifest.problems if listed else [f"{evidence.MANIFEST}: is not there"])]
    problems += evidence.compare(manifest.entries, {path: evidence.entry(path, data) for path, data in files.items()})
    if seal is not None and seal != manifest.seal:
        problems.append(f"its seal is {manifest.seal}, not the one given")
    said, wrong = _signature(listed, signature.decode("utf-8", "replace"), signers)
    problems += [*wrong, *evidencing.recheck(files), *evidencing.unapproved(files, signers)]
    if problems:
        screen.out(*problems, f"CHANGED {file}: {len(problems)} problem{'s'[: len(problems) > 1]}")
        return FAILED
    screen.out(
        f"{file}: {len(files)} files as they were sealed; each judgement is what its journal says",
        said,
        f"seal {manifest.seal}",
    )
    return PASSED


def _signature(listed: bytes, signature: str, signers: Path | None) -> tuple[str, list[str]]:
    """What to say of it, and what is wrong with it."""
    if signers is None:
        by = f"signed by the key {signing.key_of(signature)}; whose that is, --signers tells"
        return (by if signature else "not signed"), []
    if not signers.is_file():
        raise UsageError(f"{signers}: no such file; name one of allowed signers (ssh-keygen(1))")
    if not signature:
        return "", ["it is not signed"]
    name = signing.signer(signature, signers)
    if not name:
        return "", [f"signed by nobody whom {signers} allows (the key {signing.key_of(signature)})"]
    why = signing.verify(listed, signature, signers, name)
    return f"signed by {name}", [f"the signature is not {name}'s: {why}"] if why else []


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > evidence.LARGEST_IN_ALL:
            raise UsageError("is larger than any bundle")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    """Never over another bundle."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            if path.read_bytes() == data:
                return
            raise UsageError(f"{path} is there already, and is another; choose a name with -o")
        beside.write_bytes(data)
        beside.rename(path)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from None
