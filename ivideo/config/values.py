"""One value, as YAML or an option gave it, turned into the type of its field."""

from dataclasses import MISSING
from pathlib import Path
from types import NoneType
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from ivideo.config.given import Given
from ivideo.config.schema import quote, spell


def convert(hint: Any, given: Given, key: str) -> Any:
    """The value as its type, or `ValueError`; words of an option and YAML's own values alike."""
    if given.value is MISSING:
        if hint is bool:
            return True
        raise ValueError(f"{given.where} stands without a value; expected {spell(hint)}")
    if says_none(given) and NoneType in get_args(hint):
        return None
    try:
        value = _judged(_without_none(hint), given)
    except ArgumentError:
        value = None
    if value is None or value != value:  # not a number is no number to configure with
        raise ValueError(f"{quote(key, given)}; expected {spell(hint)}")
    return value


def _judged(hint: Any, given: Given) -> Any:
    value = given.value
    if isinstance(value, str) and hint in (str, Path):
        return hint(value)  # jsonargparse reads text for a path as YAML first, so that "3" is none
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    if not given.is_text:
        return parser.parse_object({"value": value}).value
    is_bare_list = get_origin(hint) in (tuple, list) and not value.startswith("[")
    return parser.parse_args([f"--value=[{value}]" if is_bare_list else f"--value={value}"]).value


def _without_none(hint: Any) -> Any:
    members = tuple(member for member in get_args(hint) if member is not NoneType)
    return Union[members] if NoneType in get_args(hint) else hint  # noqa: UP007  (computed, so `|` cannot say it)


def says_none(given: Given) -> bool:
    return given.value is None or (given.is_text and given.value.lower() in ("null", "none"))
