"""From a dataclass to the YAML that gives it back."""

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ivideo.config.given import KIND
from ivideo.config.schema import classes_of, element_of, settable


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
        return kind | {f.name: _plain(getattr(value, f.name), hints[f.name]) for f in settable(type(value))}
    if isinstance(value, (tuple, list)):
        element = element_of(hint)
        return [_plain(item, element) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, None) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
