"""Where world models are found: in a folder, inside the package, or on the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ivideo.shelf import ASSETS as ASSETS
from ivideo.shelf import find, model_in, near_folders, unknown
from ivideo.shelf import packaged as packaged
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import load_tokenizer

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel


def resolve(source: str | Path, *, revision: str | None = None) -> Path:
    """The local folder of a model: a model's folder or a training run's, a packaged name, or a Hub id.

    What a Hub id names is downloaded once. FileNotFoundError, with names that are spelt alike, for what is none of
    these; ValueError for a file, pickled checkpoints above all.
    """
    folder = find(source)
    return model_in(_download(str(source), revision)) if folder is None else folder


def find_tokenizer(source: str) -> VideoTokenizer:
    """Return the tokenizer at `source`: a run, a tokenizer's folder, a world model's, or a Hub id of one."""
    path = Path(source).expanduser()
    for folder in (path, path / "model", path / "tokenizer", path / "model" / "tokenizer"):
        if (folder / "config.json").is_file():
            return load_tokenizer(folder)
    if (path / "config.yaml").is_file():
        raise FileNotFoundError(f"{path} is a run that has saved no model yet; let it reach its first checkpoint")
    return load_tokenizer(resolve(source) / "tokenizer")


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    near = near_folders(repo)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    try:
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=["*/config.json", "*.safetensors", "*.json"])
        )
    except HFValidationError as error:
        raise FileNotFoundError(unknown(repo)) from error
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
