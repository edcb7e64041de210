"""HTML in which text stays text: whatever is no `Markup` is escaped where it is put in."""

import html
from collections.abc import Iterable
from typing import TypeAlias

from ivideo.data.names import plain


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
_VOID = frozenset({"br", "img", "input", "link", "meta"})


def element(name: str, /, *children: Child, **attributes: object) -> Markup:
    """One element; an attribute of None or False is left out, of True has no value, and `class_` is called class."""
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{joined(children)}</{name}>")


def section(anchor: str, title: str, *children: Child) -> Markup:
    """A part of a page under a heading."""
    return element("section", element("h2", title), children, id=anchor)


def joined(children: Child) -> Markup:
    """Children one after the other, those that are no markup escaped."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup("\n".join(html.escape(plain(line)) for line in children.split("\n")))
    return Markup("".join(joined(child) for child in children))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{joined(str(value))}"'
