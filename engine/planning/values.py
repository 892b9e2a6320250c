"""What a text takes from the rows: which values there are and how often, and which of them must not be sent.

A value is a cell as the text has it: without the blanks around it, and the default where it is blank. A row's values are a tuple
in the order of the wording's names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.language import _
from engine.model import Exclusion, Message
from engine.planning.wording import FilledText, OwnText, Said, Speaker, TextFault

MOST_KINDS = 20_000
"""Different rows that are counted. Where there are more, nobody could ask the gateway about all of them anyway."""

Values = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The rows of the lists by what their texts take from them, the most frequent first. `whole`: these are all of them."""

    kinds: Sequence[tuple[Values, int]]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """What the gateway forbids, with its words: single values by the name of their column, and rows that are bad as a whole."""

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rows: Mapping[Values, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.values.values()) or bool(self.rows)


class Surveyor:
    """Makes the texts of rows, and counts the rows by their values, up to `MOST_KINDS` different ones.

    Until there are more, rows that are alike are told once, and their texts are one and the same.
    """

    def __init__(self, wording: FilledText | OwnText, speak: Speaker) -> None:
        self._speak, self._defaults = speak, defaults_of(wording)
        self._counted: Counter[Values] = Counter()
        self._told: dict[Values, Said] = {}
        self.is_full = False

    def said(self, columns: Sequence[Sequence[str]]) -> list[Said]:
        """The texts of consecutive rows, whose cells come a sequence a column."""
        if self.is_full:
            return self._speak(columns)
        rows, told = list(rows_of(columns, self._defaults)), self._told
        self._counted.update(rows)
        if fresh := {row: at for at, row in enumerate(rows) if row not in told}:
            told.update(
                zip(fresh, self._speak([[cells[at] for at in fresh.values()] for cells in columns]), strict=True)
            )
        texts = [told[row] for row in rows]
        self.is_full = len(told) - (self._blank in told) > MOST_KINDS
        if self.is_full:
            told.clear()
        return texts

    def survey(self) -> Survey:
        """What was counted, but for rows that are blank."""
        kinds = self._counted.most_common(MOST_KINDS + 1)
        return Survey(kinds=[kind for kind in kinds if any(kind[0])][:MOST_KINDS], whole=not self.is_full)

    @property
    def _blank(self) -> Values:
        return ("",) * len(self._defaults)


def rows_of(columns: Sequence[Sequence[str]], defaults: Sequence[str]) -> zip[Values]:
    """The values of consecutive rows from their cells."""
    return zip(
        *(
            [cell.strip() or default for cell in cells] if default else map(str.strip, cells)
            for cells, default in zip(columns, defaults, strict=True)
        ),
        strict=True,
    )


def defaults_of(wording: FilledText | OwnText) -> list[str]:
    """What stands in for a blank cell, in the order of the names; "" where nothing does."""
    if isinstance(wording, OwnText):
        return [wording.default]
    return [wording.defaults.get(name, "") for name in wording.names]


def without(wording: FilledText | OwnText, forbidden: Forbidden) -> Speaker:
    """Makes the texts of rows, but for those that hold something forbidden. A fault of another kind goes first."""
    speak, defaults = wording.speaker(), defaults_of(wording)
    if not forbidden:
        return speak

    def said(columns: Sequence[Sequence[str]]) -> list[Said]:
        texts = speak(columns)
        for at, row in enumerate(rows_of(columns, defaults)):
            if (why := _fault(wording, row, forbidden)) is not None and isinstance(texts[at], Message):
                texts[at] = TextFault(Exclusion.FORBIDDEN_VALUE, why)
        return texts

    return said


def _fault(wording: FilledText | OwnText, row: Values, forbidden: Forbidden) -> str | None:
    for name, value in zip(wording.names, row, strict=True):
        if (words := forbidden.values.get(name, {}).get(value)) is not None:
            held = (
                _("{name} holds 「{value}」").format(name=name, value=value)
                if isinstance(wording, FilledText)
                else _("the text in the column {name} holds something").format(name=name)
            )
            return _("{held}, which the gateway forbids: 「{words}」").format(held=held, words=words)
    if (words := forbidden.rows.get(row)) is not None:
        return _("the text with {values} is forbidden by the gateway: 「{words}」").format(
            values=_(" and ").join((f"{name} = {value}" for name, value in zip(wording.names, row, strict=True))),
            words=words,
        )
    return None
