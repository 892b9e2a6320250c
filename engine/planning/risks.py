"""What in a text may trip a filter on its way, with its position: pointed at, never refused. Source: gateway/protocol.md §4.2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engine.language import _
from engine.planning.segments import units

_MARKUP = re.compile(r"<(?=[A-Za-z!/?])|&#")
_LONG_UNITS = 500
_MOST = 8


class Risk(NamedTuple):
    """Something a filter may take offence at: where it stands (from 1; 0: the text as a whole), what it is, and why."""

    position: int
    sign: str
    why: str


def risks(text: str, words: Sequence[str], *, most: int = _MOST) -> list[Risk]:
    """The first so many risks of a text in their order. `words`: what filters take for SQL; letters count as whole words."""
    found = sorted({*_sql(text, words), *_markup(text)})
    if (length := units(text)) > _LONG_UNITS:
        found.insert(
            0,
            Risk(0, "", _("{length} characters: many gateways stop at {most}").format(length=length, most=_LONG_UNITS)),
        )
    return found[:most]


def _sql(text: str, words: Sequence[str]) -> Iterator[Risk]:
    if not words:
        return
    plain = [rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])" if word.isalpha() else re.escape(word) for word in words]
    for hit in re.finditer("|".join(plain), text, re.IGNORECASE):
        yield Risk(hit.start() + 1, hit[0], _("filters may take it for SQL"))


def _markup(text: str) -> Iterator[Risk]:
    for hit in _MARKUP.finditer(text):
        yield Risk(hit.start() + 1, text[hit.start() : hit.start() + 2], _("filters may take it for markup"))
