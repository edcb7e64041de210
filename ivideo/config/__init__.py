"""Frozen dataclasses from YAML files and command lines, and back.

    YAML of --config  ->  tree of values  <-  --optimizer.lr 3e-4 (an option wins over YAML)
                               |
                               v  every key known, every value of its field's type
                          dataclass  ->  save_config  ->  load_config gives an equal one

A field that may hold one of several dataclasses is written with the class name under `kind`::

    quantizer:
      kind: EMAVQ
      decay: 0.9

which is `--quantizer EMAVQ --quantizer.decay 0.9` on the command line. jsonargparse judges types; the tree
is ours, because jsonargparse tells the members of such a union apart by their keys alone and carries the values
of one over to the next.
"""

import sys
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TypeVar, get_type_hints

from ivideo import recipes
from ivideo.config.build import build
from ivideo.config.dump import to_yaml
from ivideo.config.given import Tree, merge, nested, read_options, read_yaml
from ivideo.config.help import print_help

__all__ = ["load_config", "parse", "save_config"]

T = TypeVar("T")


def parse(
    cls: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    description: str = "",
    config_folder: str = "",
    positional: Sequence[str] = (),
) -> T:
    """Build `cls` from its defaults, the YAML of `--config` (a packaged name or a path) and `--dotted.key VALUE`.

    A name without a folder is looked up in `config_folder`. `positional` names fields that may be given by place.
    `--help` and `--print_config` print and raise `SystemExit(0)`. Raises `ValueError` for an unknown key (with the
    nearest one), a value of the wrong type or a missing value, `FileNotFoundError` for an unknown config.
    """
    flags = ("print_config", *(name for name, hint in get_type_hints(cls).items() if hint is bool))
    options = read_options(argv, positional, flags)
    own = {key: [given for name, given in options if name == key] for key in ("config", "help", "print_config")}
    tree: Tree = {}
    for given in own["config"]:
        if given.value is MISSING:
            raise ValueError("--config stands without a value; give a packaged name or the path of a YAML file")
        merge(tree, read_yaml(recipes.find(given.value, config_folder)))
    for key, given in options:
        if key not in own:
            merge(tree, nested(key, given))
    if own["help"]:
        print_help(cls, tree, prog=prog, description=description, positional=positional)
        sys.exit(0)
    config = build(cls, tree)
    if own["print_config"]:
        sys.stdout.write(to_yaml(config))
        sys.exit(0)
    return config


def save_config(config: object, path: Path) -> None:
    """Write a dataclass as YAML that `load_config` reads back to an equal value."""
    path.write_text(to_yaml(config), encoding="utf-8")


def load_config(cls: type[T], path: Path) -> T:
    """Build `cls` from a YAML file; raises as `parse` does."""
    return build(cls, read_yaml(path))
