"""The packaged YAML files, found by name: `tokenizer/oxe64` is `configs/tokenizer/oxe64.yaml`.

The files sit in `configs/` of a checkout and in `ivideo/_configs/` of an installed wheel.
"""

import sys
from difflib import get_close_matches
from pathlib import Path


def folder() -> Path:
    """The folder that holds the packaged YAML files; `FileNotFoundError` for an installation without them."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "_configs", package.parent / "configs"):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no configs beside {package}; reinstall ivideo, the installation is incomplete")


def names() -> list[str]:
    """Every packaged name in order, such as `tokenizer/oxe64`."""
    root = folder()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def find(name: str, group: str = "") -> Path:
    """The YAML file that `name` means: a file of that path, else a packaged name, with or without its `group`.

    Raises `FileNotFoundError` with the nearest packaged names.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = names()
    wanted = name.removesuffix(".yaml")
    for candidate in (wanted, f"{group}/{wanted}"):
        if candidate in known:
            return folder() / f"{candidate}.yaml"
    near = get_close_matches(wanted, known, n=3, cutoff=0.5)
    near += [full for full in known if full.rpartition("/")[2] in get_close_matches(wanted, [full.rpartition("/")[2]])]
    listed = list(dict.fromkeys(near)) or [full for full in known if not group or full.startswith(f"{group}/")]
    remedy = f"did you mean {' or '.join(listed)}?" if near else f"packaged names: {', '.join(listed) or 'none'}"
    raise FileNotFoundError(f"no config {name!r}: neither a file nor a packaged name; {remedy}")


def headline(path: Path) -> str:
    """The first line of the comment that opens a YAML file, or nothing."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def main(argv: list[str]) -> int:
    """`ivideo configs [NAME]`: list the packaged configs, or print one."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: ivideo configs [NAME]\n\nList the packaged configs, or print the one called NAME.")
        return 0
    if len(argv) > 1 or (argv and argv[0].startswith("-")):
        raise ValueError(f"`ivideo configs` takes at most one name, not {' '.join(argv)!r}")
    if argv:
        sys.stdout.write(find(argv[0]).read_text(encoding="utf-8"))
        return 0
    known = names()
    width = max(map(len, known), default=0)
    for name in known:
        print(f"{name:<{width}}  {headline(folder() / f'{name}.yaml')}".rstrip())
    return 0
