"""SSH signatures by OpenSSH's own `ssh-keygen -Y`: the keys that people have, and a file that says whose they are."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from veloz_chaos.errors import UsageError

#: What a signature is for; one made for git or a log-in is none of ours.
NAMESPACE = "veloz-chaos"
#: A person may have to type a pass phrase or touch a token. Seconds.
_PATIENCE, _QUICK = 120.0, 20.0


def sign(data: bytes, key: Path) -> str:
    """With a private key, or a public one whose other half an agent holds. Raises UsageError."""
    if not key.is_file():
        raise UsageError(f"{key}: no such key; name the file of an SSH key")
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-") as folder:
        file = Path(folder) / "data"
        file.write_bytes(data)
        done = _run(["-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)], b"", _PATIENCE, talks=True)
        made = file.with_name("data.sig")
        if done.returncode or not made.is_file():
            raise UsageError(f"{key}: can't sign with it: {_said(done)}")
        return made.read_text()


def verify(data: bytes, signature: str, signers: Path, name: str, at: str = "") -> str:
    """Why it is not this name's signature of the data, by the allowed signers; empty if it is. `at`: the instant by
    which a key must have been valid (`YYYYMMDDHHMMSSZ`), now where it is not given."""
    with _kept(signature) as file:
        words = ["-Y", "verify", "-f", str(signers), "-I", name, "-n", NAMESPACE, "-s", file.name]
        done = _run([*words, *([f"-Overify-time={at}"] if at else [])], data, _QUICK)
    return _said(done) if done.returncode else ""


def signer(signature: str, signers: Path) -> str:
    """Whose key made it, by the allowed signers; empty if nobody's there. Says nothing of what was signed."""
    with _kept(signature) as file:
        done = _run(["-Y", "find-principals", "-f", str(signers), "-s", file.name], b"", _QUICK)
    names = done.stdout.decode("utf-8", "replace").split("\n")[0].strip()
    return "" if done.returncode else names.split(",")[0]


def key_of(signature: str) -> str:
    """The public key within a signature, as `SHA256:…`; empty for what is no signature."""
    from base64 import b64decode, b64encode
    from binascii import Error
    from hashlib import sha256

    lines = [line for line in signature.split("\n") if line and not line.startswith("-----")]
    try:
        blob = b64decode("".join(lines), validate=True)
    except Error:
        return ""
    if blob[:6] != b"SSHSIG" or len(blob) < 14:
        return ""
    key = blob[14 : 14 + int.from_bytes(blob[10:14], "big")]
    return "SHA256:" + b64encode(sha256(key).digest()).decode().rstrip("=")


def _kept(text: str) -> tempfile._TemporaryFileWrapper[str]:
    file = tempfile.NamedTemporaryFile("w", prefix="veloz-chaos-", suffix=".sig")  # noqa: SIM115  # the caller closes it
    file.write(text)
    file.flush()
    return file


def _run(words: list[str], data: bytes, patience: float, *, talks: bool = False) -> subprocess.CompletedProcess[bytes]:
    """`talks`: it may ask the person at the terminal, which it opens itself."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError("there is no ssh-keygen here; install OpenSSH's client (8.2 or newer)")
    try:
        return subprocess.run(
            [program, *words],
            input=data,
            capture_output=True,
            timeout=patience,
            start_new_session=not talks,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"ssh-keygen gave no answer within {patience:g} s") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace")
    return " ".join(text.split())[:300] or f"ssh-keygen ended with {done.returncode}"
