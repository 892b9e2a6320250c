"""What each row of a list is told: the same text, a text with its cells filled in, or a text of its own.

A wording says which columns it needs and makes a Message of their cells. Cells are taken as they are, but for blanks around
them. What cannot be sent is a fault of that row: nothing is cut, replaced or left away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import NamedTuple

from engine.errors import PlanError
from engine.language import _
from engine.model import Exclusion, Message
from engine.planning.segments import ONE_SEGMENT_UNITS, segments, units
from engine.planning.template import Template
from engine.planning.text import Frame, TooLong, refuse_unencodable, too_long

_MARK = "\0"  # where a cell goes, while the signature is being set; no text that can be sent holds one
# In a cell a line feed is as bad as any control character, and a second pair of 【】 would be taken for a signature.
_UNSENDABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff【】]")


class TextFault(NamedTuple):
    """Why a row has no text that can be sent."""

    reason: Exclusion
    detail: str


Said = Message | TextFault
Speaker = Callable[[Sequence[Sequence[str]]], list[Said]]
"""The texts of consecutive rows: their cells come a sequence a column, in the order of `names`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SameText:
    """One text for everybody."""

    message: Message
    names: tuple[str, ...] = ()
    frame: Frame | None = None

    @property
    def key(self) -> str:
        """What the order key is made of."""
        return self.message.content

    @property
    def shown(self) -> str:
        """The text for people."""
        return self.message.content

    def kept(self) -> str:
        """What the journal keeps of it beside its message."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledText:
    """A template with the cells of a row. `literals` hold signature and opt-out; `defaults` by name, for blank cells."""

    literals: tuple[str, ...]
    names: tuple[str, ...]  # each once
    places: tuple[int, ...]  # which of them stands behind each literal but the last
    frame: Frame
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The text for people, placeholders in braces."""
        names = [f"{{{self.names[place]}}}" for place in self.places]
        return "".join(part for pair in zip(self.literals, [*names, ""], strict=True) for part in pair)

    @property
    def key(self) -> str:
        """What the order key is made of."""
        return json.dumps(["template/1", self.literals, self.names, self.places, sorted(self.defaults.items())])

    def kept(self) -> str:
        """What the journal keeps of it, so that rows can be added later. Read by `again`."""
        return json.dumps(
            {
                "literals": self.literals,
                "names": self.names,
                "places": self.places,
                "defaults": dict(self.defaults),
            },
            ensure_ascii=False,
        )

    def speaker(self) -> Speaker:
        """Makes the texts of rows."""
        return _Filler(self).said


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnText:
    """The whole text from a column; signature and opt-out around it as around any other. `default` for blank cells."""

    names: tuple[str, ...]  # the one column
    frame: Frame
    default: str = ""

    @property
    def shown(self) -> str:
        """The text for people."""
        return _("the column {name}").format(name=self.names[0])

    @property
    def key(self) -> str:
        """What the order key is made of."""
        frame = self.frame
        return json.dumps(["column/1", self.names, self.default, frame.signature, frame.opt_out])

    def kept(self) -> str:
        """What the journal keeps of it. Read by `again`."""
        frame = self.frame
        return json.dumps(
            {
                "column": self.names[0],
                "default": self.default,
                "signature": frame.signature,
                "opt_out": frame.opt_out,
            },
            ensure_ascii=False,
        )

    def speaker(self) -> Speaker:
        """Makes the text of a row."""
        around, default, (name,) = self.frame.around, self.default, self.names

        def one(cell: str) -> Said:
            text = cell.strip() or default
            if not text:
                return TextFault(
                    Exclusion.PLACEHOLDER, _("the text is in the column {name}, and the row has none").format(name=name)
                )
            try:
                return around(text)
            except TooLong as error:
                return TextFault(Exclusion.TOO_LONG, str(error))
            except PlanError as error:
                return TextFault(Exclusion.UNSENDABLE, str(error))

        return lambda columns: list(map(one, columns[0]))


Wording = SameText | FilledText | OwnText

_new_message = partial(tuple.__new__, Message)  # what Message._make does, without a step into Python


class _Filler:
    """Fills a template column by column: a million rows come by, and what is asked of all cells at once costs a tenth.

    First every row is filled in, then what cannot be sent is put in the place of those texts.
    """

    def __init__(self, text: FilledText) -> None:
        self._text = text
        self._form = "%s".join(literal.replace("%", "%%") for literal in text.literals)
        self._has_text = any(literal.strip() for literal in text.literals)
        self._narrow = text.frame.charset if text.frame.charset != "utf-8" else None
        self._most = text.frame.max_units - text.frame.extra_units

    def said(self, columns: Sequence[Sequence[str]]) -> list[Said]:
        """A text a row, or why there is none."""
        if not columns[0]:
            return []
        values = [list(map(str.strip, cells)) for cells in columns]
        faults = self._blanks(values)
        faults |= self._unsendable(values)
        contents = list(map(self._form.__mod__, zip(*(values[place] for place in self._text.places), strict=True)))
        if self._narrow is not None:
            faults |= _unencodable(contents, self._narrow)
        if not self._has_text:
            empty = TextFault(Exclusion.UNSENDABLE, _("the text is empty"))
            faults = {at: empty for at, content in enumerate(contents) if not content.strip()} | faults
        said: list[Said] = self._measured(contents, faults)
        for at, fault in faults.items():
            said[at] = fault
        return said

    def _blanks(self, values: list[list[str]]) -> dict[int, TextFault]:
        """Puts the defaults where cells are blank, and tells of the rows that have neither."""
        missing: dict[int, list[str]] = {}
        for at, name in enumerate(self._text.names):
            if "" not in values[at]:
                continue
            if (default := self._text.defaults.get(name)) is not None:
                values[at] = [value or default for value in values[at]]
                continue
            for row in [row for row, value in enumerate(values[at]) if not value]:
                missing.setdefault(row, []).append(name)
        return {
            row: TextFault(
                Exclusion.PLACEHOLDER,
                _("the text needs {names} and the row has none").format(names=_(" and ").join(names)),
            )
            for row, names in missing.items()
        }

    def _unsendable(self, values: list[list[str]]) -> dict[int, TextFault]:
        faults = {}
        for name, cells in zip(self._text.names, values, strict=True):
            if _UNSENDABLE.search("".join(cells)) is None:
                continue
            for row, cell in enumerate(cells):
                if (found := _UNSENDABLE.search(cell)) is not None:
                    words = _("{name} holds {sign}, which cannot be sent in a text").format(
                        name=name, sign=_character(found[0])
                    )
                    faults[row] = TextFault(Exclusion.UNSENDABLE, words)
        return faults

    def _measured(self, contents: list[str], faults: dict[int, TextFault]) -> list[Said]:
        """The messages. Those that are too long are added to the `faults`."""
        extra = self._text.frame.extra_units
        together = "".join(contents)
        wide = len(together.encode("utf-16-le", "surrogatepass")) != 2 * len(together)  # some sign counts two units
        lengths = list(map(units if wide else len, contents))
        for row in (
            [row for row, length in enumerate(lengths) if length > self._most] if max(lengths) > self._most else ()
        ):
            words = _("the text is {too_long}").format(
                too_long=too_long(lengths[row], extra, self._text.frame.max_units)
            )
            faults.setdefault(row, TextFault(Exclusion.TOO_LONG, words))
        if max(lengths) + extra <= ONE_SEGMENT_UNITS:
            return list(map(_new_message, zip(contents, lengths, repeat(1))))
        billed = [segments(length + extra) for length in lengths]
        return list(map(_new_message, zip(contents, lengths, billed, strict=True)))


def worded(template: Template, frame: Frame, defaults: Mapping[str, str]) -> SameText | FilledText:
    """The wording of a text whose placeholders have `defaults`. Raises PlanError as `compose`, and for an idle default."""
    if not template.names:
        return SameText(message=frame.around(template.literals[0]), frame=frame)
    content = frame.marked(_MARK.join(template.literals))
    if content.count(_MARK) != len(template.names):
        raise PlanError(_("the character U+0000 cannot be sent; remove it from the text"))
    refuse_unencodable(content, frame.charset)
    if (least := units(content.replace(_MARK, ""))) > frame.max_units - frame.extra_units:
        raise TooLong(
            _("the message is {too_long}, before any cell is filled in").format(
                too_long=too_long(least, frame.extra_units, frame.max_units)
            )
        )
    names = tuple(dict.fromkeys(template.names))
    for value in defaults.values():
        if (fault := _UNSENDABLE.search(value)) is not None:
            raise PlanError(
                _("the default {value!r} cannot be sent: it holds {sign}").format(
                    value=value, sign=_character(fault[0])
                )
            )
        refuse_unencodable(value, frame.charset)
    return FilledText(
        literals=tuple(content.split(_MARK)),
        names=names,
        places=tuple(names.index(name) for name in template.names),
        frame=frame,
        defaults=dict(defaults),
    )


def again(kept: str, frame: Frame) -> FilledText | OwnText:
    """The wording that a campaign was planned with, from what the journal keeps. `frame`: of the gateway as it is now."""
    said = json.loads(kept)
    if "column" in said:
        own = Frame(
            signature=said["signature"],
            signature_position=frame.signature_position,
            signature_required=frame.signature_required,
            opt_out=said["opt_out"],
            max_units=frame.max_units,
            extra_units=frame.extra_units,
            charset=frame.charset,
        )
        return OwnText(names=(said["column"],), frame=own, default=said["default"])
    return FilledText(
        literals=tuple(said["literals"]),
        names=tuple(said["names"]),
        places=tuple(said["places"]),
        frame=frame,
        defaults=said["defaults"],
    )


def template_of(kept: str) -> str:
    """The text around the places of a template, from what the journal keeps of a wording; "" where there is none."""
    return "".join(json.loads(kept).get("literals", ())) if kept else ""


def _unencodable(contents: list[str], charset: str) -> dict[int, TextFault]:
    if _lacking("".join(contents), charset) is None:
        return {}
    faults = {}
    for row, content in enumerate(contents):
        if (sign := _lacking(content, charset)) is not None:
            words = _("the text holds {sign}, which {charset} lacks, the charset of this gateway").format(
                sign=_character(sign), charset=charset
            )
            faults[row] = TextFault(Exclusion.UNSENDABLE, words)
    return faults


def _lacking(content: str, charset: str) -> str | None:
    """The first character that a charset has not."""
    try:
        content.encode(charset)
    except UnicodeEncodeError as error:
        return content[error.start]
    return None


def _character(sign: str) -> str:
    if sign == "\n":
        return _("a line break")
    shown = f"{sign} " if sign.isprintable() else ""
    return f"{shown}(U+{ord(sign):04X})"
