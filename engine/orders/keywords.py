"""Asks the gateway about texts before they are sent: whether they hold forbidden words, and which cells bring them in.

checkkeyword sends nothing and costs nothing; but a vendor may not offer it, and nobody knows how often it may be asked. So the
questions are few, come one after the other at the account's own pace, and no answer never stops a campaign.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from engine.errors import GatewayError, SendRefused
from engine.gate import Gate
from engine.gateway.wire import KeywordVerdict
from engine.language import N_, _
from engine.model import Message
from engine.planning.bisecting import SEPARATOR, Found, find_bad, joined, probes
from engine.planning.values import Forbidden, Survey, Values
from engine.planning.wording import FilledText, OwnText, SameText, Wording

_LONGEST_REST_S = 1.0
_MOST_SEARCHES = 500  # questions that look for the forbidden cell, beside those that found that there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the gateway said of the texts. `checked` of `of` `things` were asked about in `questions`; `of` None: of many more.

    `problem` says why the rest was not; "" where all were asked about, or as many as may be.
    """

    checked: int = 0
    of: int | None = 0
    things: str = N_("texts")  # of the contract; shown with `_`
    questions: int = 0
    problem: str = ""
    forbidden: Forbidden = field(default_factory=Forbidden)


class Asker:
    """Asks one question after the other. Once the gateway cannot answer, nothing more is asked."""

    def __init__(self, gate: Gate) -> None:
        offered = gate.profile.keyword_check or gate.settings.message.check_keywords is True
        # Where nobody knows whether there are answers, one try has to do.
        self._ask = gate.check_keywords if offered else gate.http.check_keywords
        rate = gate.account.pace.requests_per_second
        self._rest_s = min(1 / rate, _LONGEST_REST_S) if rate else 0.0
        self.questions = 0
        self.words = ""  # the gateway's, of the last text that was forbidden
        self.problem = ""

    async def is_forbidden(self, text: str) -> bool | None:
        """Whether a text holds forbidden words; None: nobody knows, and `problem` says why."""
        if self.problem:
            return None
        if self.questions:
            await asyncio.sleep(self._rest_s)
        self.questions += 1
        try:
            answer = await self._ask(text)
        except GatewayError as error:
            self.problem = str(error)
            return None
        match answer.verdict:
            case KeywordVerdict.CLEAN:
                return False
            case KeywordVerdict.FORBIDDEN:
                self.words = answer.message
                return True
            case KeywordVerdict.UNKNOWN:
                self.problem = _("the gateway does not say, its answer is 「{words}」").format(words=answer.message)
                return None

    async def holds_forbidden(self, values: Sequence[str]) -> bool | None:
        """The same of several values together."""
        return await self.is_forbidden(joined(values))


async def check_fixed(asker: Asker, wording: Wording) -> Checked | None:
    """Ask about what every text has. None: nothing speaks against it, and what the rows bring is to be asked about.

    Raises SendRefused when it is forbidden, because then every text is.
    """
    fixed = fixed_part(wording)
    if not fixed.strip():
        return None
    said = await asker.is_forbidden(fixed)
    if said:
        raise SendRefused(
            _("nothing was sent: the gateway finds forbidden words in the text, and says 「{words}」").format(
                words=asker.words
            )
        )
    if said is None or isinstance(wording, SameText):
        return Checked(checked=said is not None, of=1, questions=asker.questions, problem=asker.problem)
    return None


async def check_rows(asker: Asker, wording: FilledText | OwnText, survey: Survey, *, most: int) -> Checked:
    """Ask about the texts, or where there are more than `most`, about the cells they are made of."""
    rows = dict(_told(wording, survey))
    if survey.whole and len(rows) <= most:
        return await _check_texts(asker, wording, rows)
    return await _check_values(asker, wording, rows, most=most, whole=survey.whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why texts are forbidden: the gateway's words about what every one of them has, else the cells that bring it in."""

    texts: int
    fixed: str = ""  # the gateway's words; "": what they all have is clean
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # its words by column and cell
    clean: int = 0  # texts that the gateway calls clean by now
    unclear: int = 0  # texts that are forbidden although no cell of them is
    problem: str = ""


async def explain(gate: Gate, wording: FilledText | OwnText | None, texts: Sequence[str]) -> Explained:
    """Find out why the gateway refused texts. `wording`: how they were made; None: they are one text for everybody."""
    asker = Asker(gate)
    if wording is None:
        bad = await asker.is_forbidden(texts[0])
        return Explained(texts=1, fixed=asker.words if bad else "", clean=int(bad is False), problem=asker.problem)
    fixed = fixed_part(wording)
    if fixed.strip() and await asker.is_forbidden(fixed):
        return Explained(texts=len(texts), fixed=asker.words)
    rows = {row: text for text in texts if (row := values_in(wording, text)) is not None}
    checked = await _check_texts(asker, wording, rows)
    bad_rows = sum(_holds(wording, row, checked.forbidden.values) for row in rows)
    unclear = len(checked.forbidden.rows) + len(texts) - len(rows)
    return Explained(
        texts=len(texts),
        values=checked.forbidden.values,
        clean=checked.checked - bad_rows - len(checked.forbidden.rows),
        unclear=unclear,
        problem=checked.problem,
    )


def values_in(wording: FilledText | OwnText, text: str) -> Values | None:
    """The cells that a text was made of; None where that cannot be told."""
    if isinstance(wording, OwnText):
        return (text,)
    groups = [
        f"(?P<g{place}>.*?)" if place not in wording.places[:at] else f"(?P=g{place})"
        for at, place in enumerate(wording.places)
    ]
    literals = map(re.escape, wording.literals)
    form = "".join(part for pair in zip(literals, [*groups, ""], strict=True) for part in pair)
    found = re.fullmatch(form, text, re.DOTALL)
    return None if found is None else tuple(found[f"g{place}"] for place in range(len(wording.names)))


def fixed_part(wording: Wording) -> str:
    """What every text has: all of it, or what stands between the cells."""
    match wording:
        case SameText():
            return wording.message.content
        case FilledText():
            return SEPARATOR.join(literal for literal in wording.literals if literal.strip())
        case OwnText():
            return SEPARATOR.join(each for each in (wording.frame.signature, wording.frame.opt_out) if each)


def _told(wording: FilledText | OwnText, survey: Survey) -> Iterator[tuple[Values, str]]:
    """What the rows are told, the most frequent first. Those that cannot be sent anyway are left aside."""
    rows = [row for row, _ in survey.kinds]
    if not rows:
        return
    for row, text in zip(rows, wording.speaker()(list(zip(*rows, strict=True))), strict=True):
        if isinstance(text, Message):
            yield row, text.content


async def _check_texts(asker: Asker, wording: FilledText | OwnText, rows: Mapping[Values, str]) -> Checked:
    """Every text, one by one; then the cells of those that are forbidden."""
    bad: dict[Values, str] = {}
    checked = 0
    for row, text in rows.items():
        said = await asker.is_forbidden(text)
        if said is None:
            break
        checked += 1
        if said:
            bad[row] = asker.words
    values = await _culprits(asker, wording, bad)
    whole = {row: words for row, words in bad.items() if not _holds(wording, row, values)}
    return Checked(
        checked=checked,
        of=len(rows),
        questions=asker.questions,
        problem=asker.problem,
        forbidden=Forbidden(values=values, rows=whole),
    )


async def _culprits(
    asker: Asker, wording: FilledText | OwnText, rows: Mapping[Values, str]
) -> Mapping[str, Mapping[str, str]]:
    """The cells that make these rows' texts forbidden."""
    if isinstance(wording, OwnText):  # the cell is the text
        return {wording.names[0]: {row[0]: words for row, words in rows.items()}}
    if not rows:
        return {}
    values = dict.fromkeys(value for row in rows for value in row if value)
    found = await find_bad(values, asker.holds_forbidden, most_units=_room(wording), most_checks=_MOST_SEARCHES)
    return _by_name(wording, rows, dict.fromkeys(found.bad, next(iter(rows.values()))))


async def _check_values(
    asker: Asker, wording: FilledText | OwnText, rows: Iterable[Values], *, most: int, whole: bool
) -> Checked:
    """The cells, many in one question, the most frequent first."""
    rows = list(rows)
    values = list(dict.fromkeys(value for row in rows for value in row if value))
    asked = [value for group in islice(probes(values, most_units=_room(wording)), most) for value in group]
    words: dict[str, str] = {}

    async def is_bad(group: Sequence[str]) -> bool | None:
        said = await asker.holds_forbidden(group)
        if said and len(group) == 1:
            words[group[0]] = asker.words
        return said

    found: Found = await find_bad(asked, is_bad, most_units=_room(wording), most_checks=most + _MOST_SEARCHES)
    return Checked(
        checked=len(asked) - len(found.unknown),
        of=len(values) if whole else None,
        things="texts" if isinstance(wording, OwnText) else N_("different cells"),
        questions=asker.questions,
        problem=asker.problem or (_("too many are forbidden to find them all") if found.unknown else ""),
        forbidden=Forbidden(values=_by_name(wording, rows, {value: words[value] for value in found.bad})),
    )


def _room(wording: FilledText | OwnText) -> int:
    return wording.frame.max_units


def _by_name(
    wording: FilledText | OwnText, rows: Iterable[Values], bad: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Forbidden values under the names of the columns in which they stand."""
    named: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, value in zip(wording.names, row, strict=True):
            if value in bad:
                named.setdefault(name, {})[value] = bad[value]
    return named


def _holds(wording: FilledText | OwnText, row: Values, values: Mapping[str, Mapping[str, str]]) -> bool:
    return any(value in values.get(name, {}) for name, value in zip(wording.names, row, strict=True))
