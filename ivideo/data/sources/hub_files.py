"""Data sets on the Hugging Face Hub, `hf://datasets/<owner>/<name>[@<revision>]`: only what is read comes here.

What describes a data set is downloaded when it is opened, its other files when an episode in them is read; all of it
stays in the Hub's cache. So a data set on the Hub is a folder, a snapshot in that cache, that fills as it is used.
"""

import re
from functools import lru_cache
from pathlib import Path

_ADDRESS = re.compile(r"hf:/+datasets/+(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?/*")
_SNAPSHOT = re.compile(
    r"(?P<root>.*/datasets--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[^/]+))/(?P<file>.+)"
)


def is_address(source: Path) -> bool:
    """Whether a source names the Hub; a path keeps only one of the slashes of `hf://`."""
    return source.as_posix().startswith("hf:/")


def snapshot(source: Path, wanted: tuple[str, ...]) -> Path:
    """Return the folder that an address stands for, with the files of the wanted patterns in it."""
    named = _ADDRESS.fullmatch(source.as_posix())
    if not named:
        raise ValueError(f"{source}: no data set on the Hub; expected hf://datasets/<owner>/<name>[@<revision>]")
    return _snapshot(named["repo"], named["revision"], wanted)


def fetched(path: Path) -> Path:
    """Return a file of a data set, after downloading it where it is missing from a snapshot."""
    if path.exists():
        return path
    named = _SNAPSHOT.fullmatch(path.as_posix())
    if not named:
        raise FileNotFoundError(f"{path}: there is no such file; the data set is incomplete: fetch it again")
    from huggingface_hub import hf_hub_download

    repo, file = f"{named['owner']}/{named['name']}", named["file"]
    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=named["commit"]))
    except Exception as error:
        raise _refusal(repo, named["commit"], (file,), error) from error


def address(path: Path) -> str:
    """Return where on the Hub a file of a snapshot is, whether it is here or not."""
    named = _SNAPSHOT.fullmatch(path.as_posix())
    assert named, path
    return f"hf://datasets/{named['owner']}/{named['name']}@{named['commit']}/{named['file']}"


@lru_cache(maxsize=16)
def _snapshot(repo: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=list(wanted)))
    except Exception as error:
        raise _refusal(repo, revision, wanted, error) from error


def _refusal(repo: str, revision: str | None, wanted: tuple[str, ...], error: Exception) -> Exception:
    """Return what to raise for whatever the Hub's client has raised, of which there are many kinds."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    at = f" --revision {revision}" if revision else ""
    files = " ".join(f"--include '{name}'" for name in wanted)
    if isinstance(error, GatedRepoError):
        return PermissionError(
            f"{repo}: this data set is behind a gate; ask for access on the Hub, then `hf auth login`"
        )
    if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):
        there = f"no revision {revision!r}" if isinstance(error, RevisionNotFoundError) else "no such data set"
        return FileNotFoundError(
            f"hf://datasets/{repo}: {there} on the Hub; check the name, or log in to see private ones"
        )
    if isinstance(error, (OSError, ValueError)) or type(error).__module__.startswith("httpx"):
        return ConnectionError(
            f"hf://datasets/{repo}: {', '.join(wanted)} cannot be fetched ({type(error).__name__}), and the cache does "
            f"not hold it; where there is a network, `hf download {repo} --repo-type dataset{at} {files}` fetches it"
        )
    return error
