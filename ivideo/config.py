"""Frozen dataclasses from YAML files and command lines, and back.

    YAML of --config  ->  tree of values  <-  --optimizer.lr 3e-4 (an option wins over YAML)
                               |
                               v  every key known, every value of its field's type
                          dataclass  ->  save_config  ->  load_config gives an equal one

A field that may hold one of several dataclasses is written with the class name under `kind`::

    quantizer:
      kind: EMAVQ
      decay: 0.9

which is `--quantizer EMAVQ --quantizer.decay 0.9` on the command line. jsonargparse judges types and prints --help; the
tree is ours, because jsonargparse tells the members of such a union apart by their keys alone and carries the values
of one over to the next.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ivideo import recipes
from ivideo.given import KIND, Given, Tree, first_value, load_yaml, mark, merge, nested, read_options, read_yaml, unmark

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
        from ivideo.config_help import print_help

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


# From a tree to a dataclass


def build(cls: type[T], tree: Tree) -> T:
    """The dataclass that a tree of values says, its own defaults elsewhere; raises as `parse` does."""
    return cast(T, _construct(cls, tree, "", MISSING))


def _construct(cls: Any, tree: Tree, key: str, default: Any, others: Sequence[Any] = ()) -> Any:
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}
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


def default_of(field: Field[Any], owner: Any) -> Any:
    """A field's value in `owner`, else its own default, else MISSING."""
    if owner is not MISSING and owner is not None:
        return getattr(owner, field.name)
    return field.default if field.default_factory is MISSING else field.default_factory()


def _value(hint: Any, node: Any, key: str, default: Any) -> Any:
    if node is None and default is not MISSING:
        return default
    classes = classes_of(hint)
    if not classes:
        return _plain_value(hint, node, key)
    if isinstance(node, Given):
        if NoneType in get_args(hint) and _says_none(node):
            return None
        if len(classes) == 1 or not isinstance(node.value, str):
            raise ValueError(f"{_quote(key, node)}; expected {spell(hint)}")
        node = {KIND: node}
    cls = chosen_class(classes, node or {}, key, default)
    inner = {name: value for name, value in (node or {}).items() if len(classes) == 1 or name != KIND}
    return _construct(cls, inner, key, default if type(default) is cls else MISSING, classes)


def classes_of(hint: Any) -> list[Any]:
    """The dataclasses among which a field chooses; none for a plain value."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [member for member in members if isinstance(member, type) and is_dataclass(member)]


def chosen_class(classes: list[Any], node: Tree, key: str, default: Any) -> Any:
    """The one that `kind` names, else that of the default; `ValueError` where neither decides."""
    if len(classes) == 1:
        return classes[0]
    names = {cls.__name__: cls for cls in classes}
    given = node.get(KIND)
    if given is None:
        if type(default) in classes:
            return type(default)
        raise ValueError(f"{key} needs a {KIND}: {_alternatives(names)}")
    if not isinstance(given, Given) or given.value not in names:
        near = get_close_matches(str(getattr(given, "value", "")), names, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"expected {_alternatives(names)}"
        raise ValueError(f"{_quote(f'{key}.{KIND}', given)}; {remedy}")
    return names[given.value]


# Single values


def _plain_value(hint: Any, node: Any, key: str) -> Any:
    if node is None:
        raise ValueError(f"{key} is missing; give --{key} VALUE or set it in a config file")
    if isinstance(node, dict):
        if get_origin(hint) is not dict:
            inner, given = first_value(node, key)
            raise ValueError(f"{_quote(inner, given)}, but {key} is a single value: {spell(hint)}")
        node = Given(unmark(node), first_value(node, key)[1].where)
    element = element_of(hint)
    if element is not None:
        items = load_yaml(node.value, node.where) if node.is_text else node.value
        if not isinstance(items, list):
            raise ValueError(f"{_quote(key, node)}; expected {spell(hint)}")
        built = [_value(element, mark(item, node.where), f"{key}.{i}", MISSING) for i, item in enumerate(items)]
        return tuple(built) if get_origin(hint) is tuple else built
    return _convert(hint, node, key)


def element_of(hint: Any) -> Any:
    """The element type of a list of dataclasses; None for everything else."""
    if get_origin(hint) in (tuple, list) and classes_of(get_args(hint)[0]):
        return get_args(hint)[0]
    return None


def _convert(hint: Any, given: Given, key: str) -> Any:
    if given.value is MISSING:
        if hint is bool:
            return True
        raise ValueError(f"{given.where} stands without a value; expected {spell(hint)}")
    if _says_none(given) and NoneType in get_args(hint):
        return None
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if given.is_text:
            is_bare_list = get_origin(hint) in (tuple, list) and not given.value.startswith("[")
            value = parser.parse_args([f"--value=[{given.value}]" if is_bare_list else f"--value={given.value}"]).value
        else:
            value = parser.parse_object({"value": given.value}).value
    except ArgumentError:
        value = None
    if value is None or value != value:  # not a number is no number to configure with
        raise ValueError(f"{_quote(key, given)}; expected {spell(hint)}")
    return value


def _says_none(given: Given) -> bool:
    return given.value is None or (given.is_text and given.value.lower() in ("null", "none"))


def spell(hint: Any) -> str:
    """A type in words: `int or null`, `'sdpa' or 'flash'`, `list of float`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _alternatives([spell(member) for member in arguments])
    if origin is Literal:
        return _alternatives([repr(value) for value in arguments])
    if origin in (tuple, list):
        if origin is tuple and Ellipsis not in arguments:
            return f"list of {len(arguments)}: {', '.join(map(spell, arguments))}"
        return f"list of {spell(arguments[0])}"
    if origin in (dict, Mapping):
        return f"keys with {spell(arguments[1])}"
    if isinstance(hint, type) and is_dataclass(hint):
        return f"the keys of {hint.__name__}"
    names = {NoneType: "null", bool: "true or false", str: "text", Path: "path", int: "int", float: "float"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _alternatives(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else str(last)


def _quote(key: str, given: Any) -> str:
    value, where = getattr(given, "value", given), getattr(given, "where", "")
    place = f" in {where}" if where and not where.startswith("--") and where != key else ""
    return f"{key} is {value!r}{place}" if value is not None else f"{key} is empty{place}"


def _unknown_key(cls: Any, name: str, node: Any, key: str, others: Sequence[Any]) -> str:
    from ivideo.config_help import leaves

    full, given = first_value(node, f"{key}.{name}".lstrip("."))
    owners = [other.__name__ for other in others if name in (field.name for field in fields(other))]
    if owners:
        return f"{full} belongs to {_alternatives(owners)}, but {key} is {cls.__name__}; set {key}.{KIND} before it"
    known = [leaf.key for leaf in leaves(cls, prefix=f"{key}.".lstrip("."))]
    near = get_close_matches(full, known, n=1, cutoff=0.75)
    last = full.rpartition(".")[2]
    near = near or [other for other in known if other.rpartition(".")[2] == last][:1]
    near = near or get_close_matches(full, known, n=1, cutoff=0.5)
    if given.where.startswith("--"):
        return f"unknown option --{full}; " + (f"did you mean --{near[0]}?" if near else "--help lists them all")
    place = f" in {given.where}" if given.where else ""
    listed = ", ".join(field.name for field in fields(cls))
    return f"unknown key {full}{place}; " + (f"did you mean {near[0]}?" if near else f"expected one of {listed}")


# From a dataclass to YAML


class _Dumper(yaml.SafeDumper):
    """Lists on one line, nested keys below each other."""

    def represent_flow(self, values: list[Any]) -> yaml.Node:
        return self.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(list, _Dumper.represent_flow)


def to_yaml(config: Any) -> str:
    """A dataclass as the YAML that gives it back."""
    return yaml.dump(_plain(config, type(config)), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _plain(value: Any, hint: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        kind = {KIND: type(value).__name__} if len(classes_of(hint)) > 1 else {}
        return kind | {f.name: _plain(getattr(value, f.name), hints[f.name]) for f in fields(value) if f.init}
    if isinstance(value, (tuple, list)):
        element = element_of(hint)
        return [_plain(item, element) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, None) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
