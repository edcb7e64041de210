"""Weights that others published: found on disk or on the Hub, and known by their SHA-256.

Nothing is downloaded from anywhere but the Hub, and nothing is unpickled here.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from torch import Tensor

LOCAL_SUFFIXES = (".safetensors", ".pth", ".pt")
"""What ends in one of these is a file; anything else is a Hub repository."""


class NotOnHub(OSError):
    """A Hub file that is neither cached nor reachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file of weights, where to get it, and how to know it."""

    what: str
    """What it is, for messages: "the backbone of LPIPS (vgg)"."""
    file: str
    """Its name, in a Hub repository too."""
    sha256: tuple[str, ...]
    """Of the file, and of other files that hold the same weights."""
    repository: str | None = None
    """The Hub repository that holds it, unless none does."""
    url: str | None = None
    """Where it is otherwise."""

    def command(self) -> str:
        """The shell command that fetches it."""
        return f"curl -LO {self.url}" if self.repository is None else f"hf download {self.repository} {self.file}"


def locate(published: PublishedFile, source: str | None, *, option: str) -> Path:
    """The file `source`, or the published file from the Hub repository `source`; None takes the published repository.

    FileNotFoundError for a file that is absent, `NotOnHub` for a repository out of reach: both name the command that
    fetches the file, and `option`, which then takes its path.
    """
    remedy = f"fetch it with `{published.command()}` and pass its path with --{option}"
    source = source or published.repository
    if source is None:
        raise FileNotFoundError(f"{published.what} is missing: {remedy}")
    if source.endswith(LOCAL_SUFFIXES):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; expected {published.what}: {remedy}")
        return path
    try:
        return Path(hf_hub_download(source, published.file))
    except HFValidationError as error:
        raise ValueError(
            f"{source!r} is neither a file ({', '.join(LOCAL_SUFFIXES)}) nor the name of a Hub repository; expected "
            f"{published.what}: {remedy}"
        ) from error
    except (FileNotFoundError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        # Where there is no network, the Hub's client says so in a paragraph of its own.
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        reason = "" if isinstance(error, FileNotFoundError) else f" ({first})"
        raise NotOnHub(
            f"{published.what} is missing: {published.file} of the Hub repository {source} is neither in the local "
            f"cache nor within reach{reason}; where there is a network, {remedy}"
        ) from error


def check(path: Path, published: PublishedFile, *, sha256: Sequence[str] = (), option: str) -> str:
    """The SHA-256 of a file, which must be among `sha256`, or the published one where none are given.

    ValueError for another one names both, and `option`, which takes the SHA-256 of files that are meant all the same.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    given = [text.strip().lower() for text in sha256]
    expected = given or published.sha256
    if found not in expected:
        raise ValueError(
            f"{path} has the SHA-256 {found}; expected {published.what}, {' or '.join(expected)}: it is damaged, or "
            f"another file: fetch it again with `{published.command()}`, or say that you mean this one with "
            f"--{option} {','.join([*given, found])}"
        )
    return found


def tensors_sha256(tensors: Iterable[Tensor]) -> str:
    """The SHA-256 over the shapes and float32 values of tensors, the same in whichever file they came."""
    digest = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(repr(tuple(values.shape)).encode())
        digest.update(values.numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()
