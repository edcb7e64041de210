"""What can be set in a dataclass config: every dotted key with its type, default and the docstring of its field."""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser

from ivideo.config import chosen_class, classes_of, default_of, element_of
from ivideo.given import KIND, Given, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One key that takes a value."""

    key: str
    owner: type
    hint: Any
    default: Any
    help: str


def leaves(cls: Any, tree: Tree | None = None, prefix: str = "", default: Any = MISSING) -> Iterator[Leaf]:
    """Every key below a dataclass; with a `tree`, only those of the kinds which it chooses, else of all kinds."""
    hints = get_type_hints(cls)
    docs = {entry.arg_name: entry.description or "" for entry in parse_from_object(cls).params}
    for field in fields(cls):
        if not field.init:
            continue
        key, hint, value = f"{prefix}{field.name}", hints[field.name], default_of(field, default)
        classes = classes_of(hint)
        if len(classes) != 1:
            names = ", ".join(one.__name__ for one in classes)
            text = f"{docs.get(field.name, '')} One of {names}." if classes else docs.get(field.name, "")
            shown = type(value).__name__ if classes and type(value) in classes else value
            yield Leaf(key=key, owner=cls, hint=str if classes else hint, default=shown, help=text)
        for one in _shown_classes(classes, tree, field.name, key, value):
            inner = tree.get(field.name) if tree else None
            below = None if tree is None else inner if isinstance(inner, dict) else {}
            yield from leaves(one, below, f"{key}.", value if type(value) is one else MISSING)


def _shown_classes(classes: list[Any], tree: Tree | None, name: str, key: str, default: Any) -> list[Any]:
    if tree is None or len(classes) < 2:
        return classes
    node = tree.get(name)
    if isinstance(node, Given):
        node = {KIND: node}
    if not node and type(default) not in classes:
        return []
    return [chosen_class(classes, node or {}, key, default)]


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
        text = leaf.help.replace("%", "%%")
        groups[path].add_argument(f"--{leaf.key}", help=text, **kind, **known, **required)
    parser.print_help()


def _usage(prog: str, positional: Sequence[str]) -> str:
    return " ".join([prog, *(name.upper() for name in positional), "[--config NAME|FILE]", "[--key VALUE ...]"])
