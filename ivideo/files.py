"""Writing files and folders so that nothing that existed is damaged, whatever happens in between."""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


@contextmanager
def staged_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` when the block ends well, and leaves no trace otherwise.

    An existing, non-empty `folder` is a FileExistsError unless `overwrite`; a place that cannot be written is a
    PermissionError or NotADirectoryError that names it.
    """
    if not overwrite and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists already; choose another name, remove it, or ask for overwriting")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise type(error)(f"cannot write {folder}: {error.strerror or error}; choose a folder you may write") from error
    try:
        yield stage
        stage.chmod(0o755)
        if folder.exists():
            old = Path(mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
            folder.replace(old / folder.name)
            stage.replace(folder)
            shutil.rmtree(old)
        else:
            stage.replace(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def near_names(path: Path) -> str:
    """`; did you mean ...?` with the neighbours of a path that does not exist, or nothing."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=3)
    return f"; did you mean {' or '.join(str(path.parent / name) for name in close)}?" if close else ""
