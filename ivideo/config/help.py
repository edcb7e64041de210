"""`--help` of a dataclass config: every key with its type, default and the docstring of its field."""

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any, Literal, get_args, get_origin

from docstring_parser import parse_from_object

from ivideo.config.given import Tree
from ivideo.config.schema import Leaf, element_of, leaves, spell


def print_help(cls: Any, tree: Tree, *, prog: str, description: str, positional: Sequence[str]) -> None:
    """Print usage and every key, grouped by the dataclass that owns it."""
    keys = list(leaves(cls, tree))
    about = description or parse_from_object(cls).short_description or ""
    parser = ArgumentParser(prog=prog, description=_plain(about), usage=_usage(prog, keys, positional), add_help=False)
    groups: dict[str, Any] = {name: parser.add_argument_group(name) for name in ("arguments", "options")}
    options = groups[""] = groups["options"]
    options.add_argument("-h", "--help", action="store_true", help="show this message and stop")
    options.add_argument("--config", metavar="NAME|FILE", help="YAML to start from; `ivideo configs` lists names")
    options.add_argument("--print_config", action="store_true", help="print the resolved YAML and stop")
    for leaf in keys:
        path = leaf.key.rpartition(".")[0]
        if path not in groups:
            groups[path] = parser.add_argument_group(
                path, _plain(parse_from_object(leaf.owner).short_description or "")
            )
        if leaf.key in positional:
            groups["arguments"].add_argument(leaf.key.upper(), help=_plain(leaf.help))
        else:
            shape: dict[str, Any] = {"nargs": "?"} if leaf.hint is bool else {}
            groups[path].add_argument(
                f"--{leaf.key}", metavar=_metavar(leaf), default=SUPPRESS, help=_plain(_told(leaf)), **shape
            )
    parser.print_help()


def _told(leaf: Leaf) -> str:
    """The field's docstring, then its type where the choices do not say it, and its default."""
    facts = [] if _choices(leaf.hint) else [f"type: {spell(leaf.hint)}"]
    if leaf.default is MISSING:
        facts.append("required")
    elif element_of(leaf.hint) is None:
        facts.append(f"default: {_yaml(leaf.default)}")
    return f"{leaf.help} ({', '.join(facts)})".lstrip()


def _metavar(leaf: Leaf) -> str:
    choices = _choices(leaf.hint)
    return f"{{{','.join(choices)}}}" if choices else leaf.key.rpartition(".")[2].upper()


def _choices(hint: Any) -> list[str]:
    if hint is bool:
        return ["true", "false"]
    return [str(value) for value in get_args(hint)] if get_origin(hint) is Literal else []


def _yaml(value: Any) -> str:
    """A default as one writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _plain(text: str) -> str:
    """Text for argparse, to which a percent sign means more."""
    return text.replace("%", "%%")


def _usage(prog: str, keys: Sequence[Leaf], positional: Sequence[str]) -> str:
    named = {leaf.key: leaf.key.upper() if leaf.default is MISSING else f"[{leaf.key.upper()}]" for leaf in keys}
    return " ".join([prog, *(named[name] for name in positional), "[--config NAME|FILE]", "[--key VALUE ...]"])
