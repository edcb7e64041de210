"""What somebody wrote in YAML files and on a command line, each value with the place where it stands.

Knows nothing of the dataclasses that it is for, except which of their fields are plain flags.
"""

from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

import yaml

KIND = "kind"
"""The key that says which dataclass a value is where several are possible."""


@dataclass(frozen=True, slots=True)
class Given:
    """One value: YAML's own object, the text of an option, or MISSING for an option without a value."""

    value: Any
    where: str
    """The path of the file, or the option."""
    is_text: bool = False


Tree = dict[str, Any]
"""Keys to `Given` values or further trees."""


def read_yaml(path: Path) -> Tree:
    """The keys of a YAML file; `ValueError` names the line where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text; expected YAML") from None
    content = load_yaml(text, str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a single {type(content).__name__}; expected lines of `key: value`")
    return {key: mark(value, str(path)) for key, value in content.items()}


def mark(value: Any, where: str) -> Any:
    """Wrap the values of nested dictionaries; lists stay whole."""
    if isinstance(value, dict):
        return {key: mark(inner, where) for key, inner in value.items()}
    return Given(value, where)


def unmark(node: Any) -> Any:
    """The plain values again; the text of options is read as YAML."""
    if isinstance(node, dict):
        return {key: unmark(inner) for key, inner in node.items()}
    return load_yaml(node.value, node.where) if node.is_text else node.value


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML silently keeps the last, keys that are no text, and aliases.

    Aliases of aliases make a document of a few lines as large as one likes.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not read here; write the value out", problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="expected a word as key", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(text: str, where: str) -> Any:
    """Plain values of a YAML text; `ValueError` names `where` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError(f"{where}: no valid YAML for settings: it is nested too deeply") from None
    except yaml.YAMLError as error:
        spot = getattr(error, "problem_mark", None)
        line = f", line {spot.line + 1}" if spot else ""
        raise ValueError(f"{where}{line}: no valid YAML: {getattr(error, 'problem', None) or error}") from None


def read_options(argv: Sequence[str], positional: Sequence[str], flags: Collection[str]) -> list[tuple[str, Given]]:
    """Split a command line into dotted keys and texts, in order.

    A hyphen in an option's name counts as an underscore. The word after one of the `flags` is its value only when it
    is true or false. Raises `ValueError` for a word that is neither an option, nor its value, nor positional.
    """
    rest, names = list(argv), list(positional)
    found: list[tuple[str, Given]] = []
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            found.append(("help", Given(MISSING, word)))
        elif word.startswith("--") and len(word) > 2:
            option, equals, value = word.partition("=")
            key = option[2:].replace("-", "_")
            if equals or _is_value(rest, key in flags):
                found.append((key, Given(value if equals else rest.pop(0), option, is_text=True)))
            else:
                found.append((key, Given(MISSING, option)))
        elif word.startswith("-") and not word[1:2].isdigit():
            raise ValueError(f"unknown option {word!r}; options begin with two hyphens, --help lists them")
        elif names and not word.strip():
            raise ValueError(f"{names[0]} is empty; expected a value (an unset variable?)")
        elif names:
            found.append((name := names.pop(0), Given(word, name, is_text=True)))
        else:
            raise ValueError(f"unexpected argument {word!r}; options are written --name VALUE, --help lists them")
    return found


def _is_value(rest: list[str], is_flag: bool) -> bool:
    """Whether the next word belongs to the option before it."""
    if is_flag or not rest:
        return bool(rest) and rest[0].lower() in ("true", "false")
    return not rest[0].startswith("--") and rest[0] != "-h"


def nested(key: str, given: Given) -> Tree:
    """A tree with one value, at a dotted key."""
    node: Any = given
    if given.is_text and given.value.lstrip().startswith("{"):
        node = mark(load_yaml(given.value, given.where), given.where)
    for word in reversed(key.split(".")):
        node = {word: node}
    return dict(node)


def merge(base: Tree, new: Tree) -> None:
    """Put `new` over `base`; where the kind of a value changes, what was said of the old kind is dropped."""
    for key, value in new.items():
        old = base.get(key)
        if isinstance(value, Given):
            if not (isinstance(old, dict) and KIND in old and old[KIND].value == value.value):
                base[key] = value
        elif isinstance(old, dict) and (KIND not in value or _kind(value) == _kind(old)):
            merge(old, value)
        elif isinstance(old, Given) and old.value is not None and KIND not in value:
            base[key] = {KIND: old, **value}
        else:
            base[key] = value


def as_tree(node: Any) -> Tree:
    """A node where a dataclass is expected: a word alone is the name of its kind."""
    return {KIND: node} if isinstance(node, Given) else node or {}


def _kind(tree: Tree) -> Any:
    node = tree.get(KIND)
    return node.value if isinstance(node, Given) else node


def first_value(node: Any, key: str) -> tuple[str, Given]:
    """The dotted key and value of the first leaf at or below a node."""
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))
        key = f"{key}.{name}"
    return key, node if isinstance(node, Given) else Given(node, "")
