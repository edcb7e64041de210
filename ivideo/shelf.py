"""Which models are at hand, by their names; known without loading any, or what loads them."""

from difflib import get_close_matches
from pathlib import Path

from ivideo.files import near_names

ASSETS = Path(__file__).parent / "assets"
"""Checkpoints that ship inside the package; their folder names are model names."""


def find(source: str | Path) -> Path | None:
    """The local folder of a model: a model's folder or a training run's, or a packaged name; None for a Hub id.

    FileNotFoundError, with names that are spelt alike, for what is none of these; ValueError for a file, pickled
    checkpoints above all.
    """
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        return model_in(path)
    if path.is_file():
        from tokenizer.weights import PICKLE_SUFFIXES

        if path.suffix in PICKLE_SUFFIXES:
            raise ValueError(
                f"{path} is a pickled checkpoint, which could run code when it is opened, so it is refused; expected a "
                "folder with safetensors files: convert it where you trust it"
            )
        raise ValueError(f"{path} is a file; expected a model: a folder, a packaged name or a Hugging Face Hub id")
    if str(source) in packaged():
        return model_in(ASSETS / str(source))
    parts = str(source).split("/")
    if len(parts) == 2 and all(parts) and parts[0] not in {".", "..", "~"}:
        return None
    raise FileNotFoundError(unknown(str(source)))


def packaged() -> list[str]:
    """Names of the models that ship inside the package."""
    return sorted(folder.name for folder in ASSETS.iterdir() if folder.is_dir()) if ASSETS.is_dir() else []


def model_in(folder: Path) -> Path:
    """The folder itself, or `model/` of a training run."""
    for place in (folder, folder / "model"):
        if (place / "tokenizer").is_dir() and (place / "transformer").is_dir():
            return place
    held = sorted(entry.name for entry in folder.iterdir())
    raise FileNotFoundError(
        f"{folder} is no model: expected the subfolders tokenizer/ and transformer/, but it holds "
        f"{', '.join(held[:5]) or 'nothing'}{', ...' if held[5:] else ''}"
    )


def unknown(source: str) -> str:
    """What there is instead of a model that there is not."""
    near = [*get_close_matches(source, packaged(), n=1), *near_folders(source)]
    remedy = f"did you mean {' or '.join(near)}?" if near else "expected a folder, or a Hub id such as owner/name"
    known = f"the packaged models are {', '.join(packaged())}" if packaged() else "no models are packaged"
    return f"there is no model {source!r}: it is neither a folder here nor a Hugging Face Hub id, and {known}; {remedy}"


def near_folders(source: str) -> list[str]:
    """Folders whose names are spelt like that."""
    return [name for name in near_names(Path(source)) if Path(name).is_dir()]
