"""The first page of the help, drawn as the parser draws the others, without what those are drawn with: half the time of `--help`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from unicodedata import east_asian_width

from engine.language import _

_USUAL_WIDTH = 80
_LEAST_ROOM = 10  # for what a command is for; a narrower terminal breaks the box
_BOX = tuple("╭─╮│╰╯")
_PLAIN_BOX = tuple("+-+|++")  # for an encoding without the other
# A word, or a wide character with the signs that must not begin a line.
_PIECE = re.compile(r"\s+|(?:[^\s\u2e80-\uffef]+|[\u2e80-\uffef])[，。；：、！？）」』》]*")


def front_page(about: str, commands: Mapping[str, str], epilogue: str) -> str:
    """The page for a terminal, or for what standard output is. `commands`: what each is for."""
    width, styled = _width(), _is_styled()
    encoding = (sys.stdout.encoding or "").lower()
    box = _BOX if encoding.startswith("utf") else _PLAIN_BOX
    usage = _("Usage: ") + "xinshi COMMAND"
    flags = {
        "--help (-h)": _("Display this message and exit."),
        "--version": _("Display application version."),
    }
    return "\n".join(
        [
            f"\x1b[1m{usage}\x1b[0m" if styled else usage,
            "",
            *_wrapped(about, width),
            "",
            *_panel({**dict(sorted(commands.items())), **flags}, width, box, styled=styled),
            "",
            *_wrapped(epilogue, width),
            "",
        ]
    )


def _panel(entries: Mapping[str, str], width: int, box: tuple[str, ...], *, styled: bool) -> Iterator[str]:
    left_top, line, right_top, side, left_bottom, right_bottom = box
    title = f"{line} {_('Commands')} "
    names = max(map(len, entries))
    room = max(_LEAST_ROOM, width - names - len("│   │") - 1)
    yield left_top + title + line * (width - 2 - _cells(title)) + right_top
    for name, words in entries.items():
        for at, told in enumerate(_wrapped(words, room)):
            shown = (name if at == 0 else "").ljust(names)
            shown = f"\x1b[36m{shown}\x1b[0m" if styled else shown
            yield f"{side} {shown}  {told}{' ' * (room - _cells(told))} {side}"
    yield left_bottom + line * (width - 2) + right_bottom


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of a text, none wider than `width` cells where its words are not."""
    line = ""
    for piece in _PIECE.findall(text):
        if line and _cells(line + piece) > width and not piece.isspace():
            yield line.rstrip()
            line = ""
        line += piece if line or not piece.isspace() else ""
    yield line.rstrip()


def _cells(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _width() -> int:
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    for stream in (0, 1, 2):
        with suppress(OSError):
            return os.get_terminal_size(stream).columns or _USUAL_WIDTH
    return _USUAL_WIDTH


def _is_styled() -> bool:
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    return sys.stdout.isatty() and not dumb and not os.environ.get("NO_COLOR")
