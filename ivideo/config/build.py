"""From a tree of given values to a dataclass; whatever does not fit is named with its key and place."""

from collections.abc import Sequence
from dataclasses import MISSING
from difflib import get_close_matches
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from ivideo.config.given import KIND, Given, Tree, as_tree, first_value, load_yaml, mark, unmark
from ivideo.config.schema import (
    alternatives,
    chosen_class,
    classes_of,
    default_of,
    element_of,
    leaves,
    quote,
    settable,
    spell,
)
from ivideo.config.values import convert, says_none

T = TypeVar("T")


def build(cls: type[T], tree: Tree) -> T:
    """The dataclass that a tree of values says, its own defaults elsewhere; raises as `parse` does."""
    return cast(T, _construct(cls, tree, "", MISSING))


def _construct(cls: Any, tree: Tree, key: str, default: Any, others: Sequence[Any] = ()) -> Any:
    hints = get_type_hints(cls)
    known = {field.name: field for field in settable(cls)}
    for name in tree:
        if name not in known:
            raise ValueError(_unknown_key(cls, name, tree[name], key, others))
    values = {
        name: _value(hints[name], tree.get(name), f"{key}.{name}".lstrip("."), default_of(field, default))
        for name, field in known.items()
    }
    try:
        return cls(**values)
    except ValueError as error:
        if not key:
            raise
        raise ValueError(f"{key}: {error}") from error


def _value(hint: Any, node: Any, key: str, default: Any) -> Any:
    if node is None and default is not MISSING:
        return default
    classes = classes_of(hint)
    if not classes:
        return _plain_value(hint, node, key)
    if isinstance(node, Given):
        if NoneType in get_args(hint) and says_none(node):
            return None
        if len(classes) == 1 or not isinstance(node.value, str):
            raise ValueError(f"{quote(key, node)}; expected {spell(hint)}")
    tree = as_tree(node)
    cls = chosen_class(classes, tree, key, default)
    inner = {name: value for name, value in tree.items() if len(classes) == 1 or name != KIND}
    return _construct(cls, inner, key, default if type(default) is cls else MISSING, classes)


def _plain_value(hint: Any, node: Any, key: str) -> Any:
    if node is None:
        raise ValueError(f"{key} is missing; give --{key} VALUE or set it in a config file")
    if isinstance(node, dict):
        if get_origin(hint) is not dict:
            inner, given = first_value(node, key)
            raise ValueError(f"{quote(inner, given)}, but {key} is a single value: {spell(hint)}")
        node = Given(unmark(node), first_value(node, key)[1].where)
    element = element_of(hint)
    if element is not None:
        items = load_yaml(node.value, node.where) if node.is_text else node.value
        if not isinstance(items, list | tuple):
            raise ValueError(f"{quote(key, node)}; expected {spell(hint)}")
        built = [_value(element, mark(item, node.where), f"{key}.{i}", MISSING) for i, item in enumerate(items)]
        return tuple(built) if get_origin(hint) is tuple else built
    return convert(hint, node, key)


def _unknown_key(cls: Any, name: str, node: Any, key: str, others: Sequence[Any]) -> str:
    full, given = first_value(node, f"{key}.{name}".lstrip("."))
    owners = [other.__name__ for other in others if name in (field.name for field in settable(other))]
    if owners:
        return f"{full} belongs to {alternatives(owners)}, but {key} is {cls.__name__}; set {key}.{KIND} before it"
    known = [leaf.key for leaf in leaves(cls, prefix=f"{key}.".lstrip("."))]
    near = get_close_matches(full, known, n=1, cutoff=0.75)
    last = full.rpartition(".")[2]
    near = near or [other for other in known if other.rpartition(".")[2] == last][:1]
    near = near or get_close_matches(full, known, n=1, cutoff=0.5)
    if given.where.startswith("--"):
        return f"unknown option --{full}; " + (f"did you mean --{near[0]}?" if near else "--help lists them all")
    place = f" in {given.where}" if given.where else ""
    listed = ", ".join(field.name for field in settable(cls))
    return f"unknown key {full}{place}; " + (f"did you mean {near[0]}?" if near else f"expected one of {listed}")
