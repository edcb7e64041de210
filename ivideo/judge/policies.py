"""Policies by name: the scripted ones, those that other packages enter, and any callable that can be imported.

::

    expert                   a scripted policy of the pushing table
    drqv2:runs/push          an entry of the group `ivideo.policies`, called with what follows the colon
    mine.policies:lift       an attribute of a module: a policy, a class of policies, or a callable
    mine.policies:load:FILE  the same, called with what follows to give the policy
    agent=drqv2:runs/push    any of these under a name of its own

An entry is a function from a text to a policy. What is not a policy (has no `begin`) is taken for a callable that
answers one frame with one action; see `ivideo.judge.acting`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ivideo.judge.acting import OneByOne, Policy
from ivideo.judge.table_policies import SCRIPTED

GROUP = "ivideo.policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A policy and what it is called."""

    name: str
    policy: Policy
    source: str = ""
    """Where it was found."""


def find_policies(names: Sequence[str]) -> list[Named]:
    """Every policy by its name; ValueError for one that is unknown or given twice, with the nearest names."""
    called = [_labelled(name) for name in names]
    labels = [label for label, _ in called]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"policy {twice[0]} is given twice; leave one of them out, or call it NAME=...")
    return [Named(name=label, policy=find_policy(name), source=name) for label, name in called]


def find_policy(name: str) -> Policy:
    """The policy of that name."""
    if name in SCRIPTED:
        return SCRIPTED[name]
    first, colon, rest = name.partition(":")
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if first in entries:
        return _policy(name, _called(name, _loaded(entries[first]), rest))
    if not colon:
        near = get_close_matches(name, [*SCRIPTED, *entries], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join([*SCRIPTED, *entries])}"
        raise ValueError(f"policy {name!r} is unknown; {hint}, or name yours as module:attribute")
    attribute, called, argument = rest.partition(":")
    found = _imported(name, first, attribute)
    if called:
        return _policy(name, _called(name, found, argument))
    return _policy(name, found() if isinstance(found, type) else found)


def _labelled(name: str) -> tuple[str, str]:
    """What a policy is called, and where it is found."""
    label, equals, rest = name.partition("=")
    return (label, rest) if equals and label.isidentifier() else (name, name)


def _imported(name: str, module: str, attribute: str) -> Any:
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise ValueError(f"policy {name!r}: there is no module {error.name!r}; is its folder on PYTHONPATH?") from error
    except AttributeError:
        known = [each for each in vars(import_module(module)) if not each.startswith("_")]
        near = get_close_matches(attribute, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"policy {name!r}: module {module} has no {attribute!r}{hint}") from None


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"policy {entry.name} of {GROUP} cannot be imported ({error}); install what it needs"
        ) from error


def _called(name: str, function: Any, argument: str) -> Any:
    if not callable(function):
        raise ValueError(f"policy {name!r}: there is nothing to call with {argument!r}; leave that out")
    return function(argument)


def _policy(name: str, found: Any) -> Policy:
    if hasattr(found, "begin"):
        policy: Policy = found
        return policy
    if callable(found):
        return OneByOne(found)
    raise ValueError(f"policy {name!r} is a {type(found).__name__}; expected a policy, or a callable of a frame")
