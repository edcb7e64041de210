"""Makes sure that `tokenizer` and `transformer` are the ones that came with this `ivideo`.

Both are common names: a `tokenizer.py` in the current folder, or a package of that name from elsewhere, is imported
in place of ours when it comes first on `sys.path`.
"""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

SIBLINGS = ("tokenizer", "transformer")


class ShadowedImport(ImportError):
    """Another module stands where one of ours should be; the message names it and the remedy."""


def check() -> None:
    """Raise `ShadowedImport` unless `tokenizer` and `transformer` sit beside `ivideo`; imports neither."""
    home = Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        expected = home / name
        found = _location(find_spec(name))
        if found is None:
            raise ShadowedImport(f"ivideo needs its package {name!r} in {expected}; reinstall ivideo", name=name)
        if found != expected:
            remedy = "rename or leave it" if found.is_file() else f"uninstall it, or put {home} first on PYTHONPATH"
            raise ShadowedImport(f"{found} is imported in place of {expected}; {remedy}", name=name)


def _location(spec: ModuleSpec | None) -> Path | None:
    """The folder of a package, the file of a single module, None for nothing."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
