"""What the fields of a dataclass may hold: which dataclasses, which keys, and how a type is called in words."""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from inspect import get_annotations
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse_from_object

from ivideo.config.given import KIND, Given, Tree, as_tree


def settable(cls: Any) -> list[Field[Any]]:
    """The fields that can be given: at every level, what a dataclass adds goes before what it inherits."""
    order = [name for owner in cls.__mro__ for name in get_annotations(owner)]
    return sorted((field for field in fields(cls) if field.init), key=lambda field: order.index(field.name))


def classes_of(hint: Any) -> list[Any]:
    """The dataclasses among which a field chooses; none for a plain value."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [member for member in members if isinstance(member, type) and is_dataclass(member)]


def element_of(hint: Any) -> Any:
    """The element type of a list of dataclasses; None for everything else."""
    if get_origin(hint) in (tuple, list) and classes_of(get_args(hint)[0]):
        return get_args(hint)[0]
    return None


def default_of(field: Field[Any], owner: Any) -> Any:
    """A field's value in `owner`, else its own default, else MISSING."""
    if owner is not MISSING:
        return getattr(owner, field.name)
    factory = field.default_factory
    return factory() if callable(factory) else field.default


def chosen_class(classes: list[Any], node: Tree, key: str, default: Any) -> Any:
    """The one that `kind` names, else that of the default; `ValueError` where neither decides."""
    if len(classes) == 1:
        return classes[0]
    names = {cls.__name__: cls for cls in classes}
    given = node.get(KIND)
    if given is None:
        if type(default) in classes:
            return type(default)
        raise ValueError(f"{key} needs a {KIND}: {alternatives(names)}")
    if not isinstance(given, Given) or given.value not in names:
        near = get_close_matches(str(getattr(given, "value", "")), names, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"expected {alternatives(names)}"
        raise ValueError(f"{quote(f'{key}.{KIND}', given)}; {remedy}")
    return names[given.value]


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
    owners = [owner for owner in reversed(cls.__mro__) if is_dataclass(owner)]  # docstrings stand where fields do
    docs = {entry.arg_name: entry.description or "" for owner in owners for entry in parse_from_object(owner).params}
    for field in settable(cls):
        key, hint, value = f"{prefix}{field.name}", hints[field.name], default_of(field, default)
        classes = classes_of(hint)
        if len(classes) != 1:
            names = ", ".join(one.__name__ for one in classes)
            text = f"{docs.get(field.name, '')} One of {names}." if classes else docs.get(field.name, "")
            shown = type(value).__name__ if classes and type(value) in classes else value
            yield Leaf(key=key, owner=cls, hint=str if classes else hint, default=shown, help=text)
        for one in _shown_classes(classes, tree, field.name, key, value):
            below = None if tree is None else as_tree(tree.get(field.name))
            yield from leaves(one, below, f"{key}.", value if type(value) is one else MISSING)


def _shown_classes(classes: list[Any], tree: Tree | None, name: str, key: str, default: Any) -> list[Any]:
    if tree is None or len(classes) < 2:
        return classes
    node = as_tree(tree.get(name))
    if not node and type(default) not in classes:
        return []
    return [chosen_class(classes, node, key, default)]


def spell(hint: Any) -> str:
    """A type in words: `int or null`, `'sdpa' or 'flash'`, `list of float`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return alternatives([spell(member) for member in arguments])
    if origin is Literal:
        return alternatives([repr(value) for value in arguments])
    if origin in (tuple, list):
        if origin is tuple and Ellipsis not in arguments:
            return f"list of {len(arguments)}: {', '.join(map(spell, arguments))}"
        return f"list of {spell(arguments[0])}"
    if origin is dict:
        return f"keys with {spell(arguments[1])}"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"the keys of {hint.__name__}"
    names = {NoneType: "null", bool: "true or false", str: "text", Path: "path", int: "int", float: "float"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def alternatives(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else str(last)


def quote(key: str, given: Any) -> str:
    """`key is value`, with the file that says so."""
    value, where = getattr(given, "value", given), getattr(given, "where", "")
    place = f" in {where}" if where and not where.startswith("--") and where != key else ""
    return f"{key} is {value!r}{place}" if value is not None else f"{key} is empty{place}"
