"""`--help` of a dataclass config: every key with its type, default and the docstring of its field."""

from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser

from ivideo.config.given import Tree
from ivideo.config.schema import element_of, leaves


def print_help(cls: Any, tree: Tree, *, prog: str, description: str, positional: Sequence[str]) -> None:
    """Print usage and every key, grouped by the dataclass that owns it."""
    about = description or parse_from_object(cls).short_description or ""
    parser = ArgumentParser(prog=prog, description=about, usage=_usage(prog, positional))
    parser.add_argument("--config", metavar="NAME|FILE", help="YAML to start from; `ivideo configs` lists names")
    parser.add_argument("--print_config", action="store_true", help="print the resolved YAML and stop")
    groups: dict[str, Any] = {"": parser}
    for leaf in leaves(cls, tree):
        path = leaf.key.rpartition(".")[0]
        if path not in groups:
            groups[path] = parser.add_argument_group(path, parse_from_object(leaf.owner).short_description or "")
        if leaf.key in positional:
            groups[path].add_argument(leaf.key, nargs="?", metavar=leaf.key.upper(), help=leaf.help)
            continue
        known = {} if leaf.default is MISSING or element_of(leaf.hint) else {"default": leaf.default}
        kind = {} if element_of(leaf.hint) else {"type": leaf.hint}
        required = {"required": True} if leaf.default is MISSING else {}
        groups[path].add_argument(f"--{leaf.key}", help=leaf.help, **kind, **known, **required)
    parser.print_help()


def _usage(prog: str, positional: Sequence[str]) -> str:
    return " ".join([prog, *(name.upper() for name in positional), "[--config NAME|FILE]", "[--key VALUE ...]"])
