"""Prose, columns and commands as they stand on a terminal."""

import re
from collections.abc import Sequence
from textwrap import fill

WIDTH = 118


def prose(text: str, margin: int = 0, hang: int = 0) -> str:
    """Text in lines of WIDTH after a margin; those after the first hang under its words, behind a label or a dash."""
    return fill(text, WIDTH, initial_indent=" " * margin, subsequent_indent=" " * (margin + hang))


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Cells below each other, every line as many."""
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(rows)


def wrapped(command: str, room: int = WIDTH - 8) -> str:
    """A command on several lines that a shell reads as one; an option stays with its value."""
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if len(lines[-1]) + len(part) + 1 > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".lstrip()
    return " \\\n      ".join(lines)
