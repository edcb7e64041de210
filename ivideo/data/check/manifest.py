"""Files against a folder's `manifest.json`, which holds the size and SHA-256 of every file: the only sure sign of a
flipped bit, for h264 decodes most of them into wrong pixels and says nothing."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ivideo.data.check.findings import LINTS, Finding

MANIFEST = "manifest.json"


def verify(folder: Path) -> Iterator[Finding]:
    """Name every file that is not as the manifest has it; nothing where a folder has no manifest of this kind."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        expected = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in listed.items()}
    except (OSError, NotADirectoryError):
        return
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    for name, (size, digest) in expected.items():
        detail = _difference(folder, name, size, digest)
        if detail:
            yield Finding(lint=LINTS["hash-mismatch"], detail=detail, file=str(folder / MANIFEST))


def _difference(folder: Path, name: str, size: int, digest: str) -> str:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or not (folder / name).resolve().is_relative_to(folder.resolve()):
        return f"{name} lies outside the folder; it was not looked at"
    try:
        held = (folder / name).stat().st_size
        if held != size:
            return f"{name} has {held} bytes; expected {size}"
        with (folder / name).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        return f"{name} cannot be read ({getattr(error, 'strerror', None) or error})"
    return "" if found == digest else f"{name} has SHA-256 {found[:16]}...; expected {digest[:16]}..."
