"""Where world models are found: in a folder, inside the package, or on the Hugging Face Hub."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ivideo.files import near_names
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import load_tokenizer
from tokenizer.weights import PICKLE_SUFFIXES

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel

ASSETS = Path(__file__).parent / "assets"
"""Checkpoints that ship inside the package; their folder names are model names."""


def resolve(source: str | Path, *, revision: str | None = None) -> Path:
    """The local folder of a model: a model's folder or a training run's, a packaged name, or a Hub id.

    What a Hub id names is downloaded once. FileNotFoundError, with names that are spelt alike, for what is none of
    these; ValueError for a file, pickled checkpoints above all.
    """
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        return _model_in(path)
    if path.is_file():
        if path.suffix in PICKLE_SUFFIXES:
            raise ValueError(
                f"{path} is a pickled checkpoint, which could run code when it is opened, so it is refused; expected a "
                "folder with safetensors files: convert it where you trust it"
            )
        raise ValueError(f"{path} is a file; expected a model: a folder, a packaged name or a Hugging Face Hub id")
    if str(source) in packaged():
        return _model_in(ASSETS / str(source))
    parts = str(source).split("/")
    if len(parts) == 2 and all(parts) and parts[0] not in {".", "..", "~"}:
        return _model_in(_download(str(source), revision))
    raise FileNotFoundError(_unknown(str(source)))


def find_tokenizer(source: str) -> VideoTokenizer:
    """Return the tokenizer at `source`: a run, a tokenizer's folder, a world model's, or a Hub id of one."""
    path = Path(source).expanduser()
    for folder in (path, path / "model", path / "tokenizer", path / "model" / "tokenizer"):
        if (folder / "config.json").is_file():
            return load_tokenizer(folder)
    if (path / "config.yaml").is_file():
        raise FileNotFoundError(f"{path} is a run that has saved no model yet; let it reach its first checkpoint")
    return load_tokenizer(resolve(source) / "tokenizer")


def packaged() -> list[str]:
    """Names of the models that ship inside the package."""
    return sorted(folder.name for folder in ASSETS.iterdir() if folder.is_dir()) if ASSETS.is_dir() else []


def _model_in(folder: Path) -> Path:
    """The folder itself, or `model/` of a training run."""
    for place in (folder, folder / "model"):
        if (place / "tokenizer").is_dir() and (place / "transformer").is_dir():
            return place
    held = sorted(entry.name for entry in folder.iterdir())
    raise FileNotFoundError(
        f"{folder} is no model: expected the subfolders tokenizer/ and transformer/, but it holds "
        f"{', '.join(held[:5]) or 'nothing'}{', ...' if held[5:] else ''}"
    )


def _unknown(source: str) -> str:
    near = [*get_close_matches(source, packaged(), n=1), *_near_folders(source)]
    remedy = f"did you mean {' or '.join(near)}?" if near else "expected a folder, or a Hub id such as owner/name"
    known = f"the packaged models are {', '.join(packaged())}" if packaged() else "no models are packaged"
    return f"there is no model {source!r}: it is neither a folder here nor a Hugging Face Hub id, and {known}; {remedy}"


def _near_folders(source: str) -> list[str]:
    return [name for name in near_names(Path(source)) if Path(name).is_dir()]


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    near = _near_folders(repo)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    try:
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=["*/config.json", "*.safetensors", "*.json"])
        )
    except HFValidationError as error:
        raise FileNotFoundError(_unknown(repo)) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise FileNotFoundError(
            f"there is no folder {repo!r} here, and the Hugging Face Hub cannot be reached to look for it there"
            f"{hint or '; connect and try again, or download it elsewhere and give the folder'}"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(
            f"there is no folder {repo!r} here, and the Hugging Face Hub has no model of that name that is open to you "
            f"(revision {revision or 'main'}){hint or '; check the spelling, or log in with `hf auth login`'}"
        ) from error


def push(model: "WorldModel", repo: str, *, private: bool, message: str) -> str:
    """See `WorldModel.push_to_hub`."""
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    from ivideo.checkpoint import save

    with TemporaryDirectory() as scratch:
        save(model, Path(scratch) / "model")
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=Path(scratch) / "model", commit_message=message)
    return str(address)


def check_device(device: torch.device | str) -> None:
    """Refuse a device that is none, or that is not there, before anything is loaded."""
    known = "expected cpu, or cuda, cuda:1 or mps where there is one: `ivideo info` says what there is"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{str(device)!r} is no device; {known}") from error
    try:
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(f"device {str(device)!r} cannot be used ({reason}); {known}") from error
