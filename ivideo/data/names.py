"""Names out of files that nobody vouches for, made fit to be shown."""

import html
import re


def plain(text: str) -> str:
    """The text with everything unprintable, such as commands to a terminal, spelt out."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "backslashreplace").decode() for sign in text
    )


def quoted(text: str) -> str:
    """The text as Markdown that shows it as it is: no HTML, no link, no picture, no table's border."""
    escaped = re.sub(r"([\\`*_\[\]()|~!])", r"\\\1", html.escape(plain(text)))
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")
