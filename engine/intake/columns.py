"""Which delimiter, header and column a list has, judged from its first few hundred rows.

A wrong column sends the message to the wrong people, so a doubtful guess is an error that lists the candidates.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from engine.errors import IntakeError, PlanError
from engine.language import _
from engine.numbers import examine

SAMPLE_ROWS = 400
MOST_COLUMNS = 1_000  # a wider file is no list of people, and would cost a huge pattern
DELIMITERS = (",", "\t", ";", "|")  # the earlier wins a tie
# What Excel writes for itself: which delimiter follows.
_SEP_LINE = re.compile(r'"?sep=([,;\t|])"?\n')
_COUNTED = re.compile(r"[0-9一二三]{1,2}$")
# A title may stand above the header row, as in a printed sheet; data does not begin later than this.
_HEADER_WITHIN = 5
# Below this share of the best column's mobiles, another column is no rival (referees, emergency contacts …).
_RIVAL_SHARE = 0.25
_NOTED_SHARE = 0.1  # of the rows: a column with that many mobiles is told of

# The columns that rejects.py puts before those of the list. By them a list of rejects is known when it comes back.
OWN_COLUMNS = ("xinshi_file", "xinshi_line", "xinshi_reason", "xinshi_detail")
_MARK_OF_REJECTS = "xinshi_reason"

# Whose the number is comes before what it is called: 客户手机号, 收货人电话. Not 紧急联系人 or 推荐人: those are other people.
# fmt: off
_WHOSE = (
    "",
    *["联系", "联系人", "联络", "联络人", "客户", "会员", "用户", "顾客", "本人", "个人", "收货", "收货人", "收件", "收件人", "接收", "接收人"],
    *["绑定", "预留", "注册", "登录", "登陆", "常用", "主要", "短信", "目标", "移动", "被叫", "聯絡", "聯絡人", "聯繫", "聯繫人", "連絡", "客戶", "會員", "用戶", "收貨人"],
)
_CALLED = ["手机", "手机号", "手机号码", "手机电话", "手机号电话", "电话", "电话号", "电话号码", "号码", "手機", "手機號", "手機號碼", "電話", "電話號碼", "號碼", "行動電話"]
_THEIR = ("", *["customer", "client", "user", "member", "contact", "recipient", "receiver", "consignee", "buyer"])
_ENGLISH = ["mobile", "mobilephone", "phone", "cell", "cellphone", "cellular", "tel", "telephone", "handphone"]
# As people type 手机号, 电话 and 联系方式 where only ASCII is allowed.
_PINYIN = ["shouji", "shoujihao", "shoujihaoma", "sjh", "sjhm", "dianhua", "dianhuahaoma", "lxdh", "lianxidianhua", "lxfs"]
# fmt: on
KNOWN_HEADERS = frozenset(
    [whose + called for whose in _WHOSE for called in _CALLED]
    + [
        whose + called + end
        for whose in _THEIR
        for called in _ENGLISH
        for end in ("", "s", "no", "nos", "num", "number", "numbers")
    ]
    + ["联系方式", "联络方式", "聯絡方式", "msisdn", "contactno", "contactnumber", "recipient", "recipients", *_PINYIN]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the rows of a list are cut. Columns count from 0, lines from 1."""

    delimiter: str
    column: int
    label: str  # the header's name for the column, or "column 3"
    width: int  # cells a row has; more with content in them are a sign of shifted columns
    header: tuple[str, ...] | None
    first_line: int  # the physical line where the data begins
    preview_rows: tuple[tuple[str, ...], ...]
    passed_over: tuple[str, ...] = ()  # further columns with mobiles in them, by name or place


_Rows = list[tuple[int, list[str]]]  # (line where the row begins, cells)


def recognise(sample: str, *, column: str | None, source: Path | str) -> Layout:
    """Find the layout in `sample`, whole lines from the beginning of the list.

    `column` is a header name or a 1-based index and decides. Raises IntakeError: no column of numbers, two that could be it.
    """
    told = _SEP_LINE.match(sample)
    delimiter = told[1] if told else _delimiter(sample)
    rows = sample_rows(sample, delimiter)
    layout = recognise_rows(rows[1:] if told else rows, column=column, source=source, delimiter=delimiter)
    # Of a list without data, the data begins below everything there is.
    return layout if layout.preview_rows else replace(layout, first_line=sample.count("\n") + 1)


def recognise_rows(rows: _Rows, *, column: str | None, source: Path | str, delimiter: str = ",") -> Layout:
    """The same for rows that are cut already."""
    header_at = _header_index(rows, column)
    header = rows[header_at][1] if header_at is not None else None
    data = rows if header_at is None else rows[header_at + 1 :]
    # Rows that were too long once are too long still, though most of these rows may be.
    width = len(header or ()) if is_of_rejects(header) else max(_usual_width(data), len(header or ()))
    if width > MOST_COLUMNS:
        raise IntakeError(
            _("{width} columns; a list has at most {most}").format(width=width, most=MOST_COLUMNS), source=source
        )
    sheet = _Sheet(source=source, header=header, data=[cells for _, cells in data], width=width)
    index = sheet.guess() if column is None else sheet.named(column)
    if header_at is None and _is_header_cell(rows, index):
        # A header in words we do not know: the column was found by its content, or named by index.
        header, data = rows[0][1], rows[1:]
    return Layout(
        delimiter=delimiter,
        column=index,
        label=_label(header, index),
        width=max(width, index + 1),
        header=None if header is None else tuple(header),
        first_line=data[0][0] if data else rows[-1][0] + 1 if rows else 1,
        preview_rows=tuple(tuple(cells) for _, cells in data[:3]),
        passed_over=tuple(_name(header, at) or str(at + 1) for at in sheet.beside(index)),
    )


def sample_rows(sample: str, delimiter: str) -> _Rows:
    """The first rows with the physical line each begins on. `sample` ends its lines with LF."""
    reader = csv.reader(io.StringIO(sample, newline="\n"), delimiter=delimiter)
    rows: _Rows = []
    line = 1
    try:
        for cells in reader:
            rows.append((line, cells))
            line = reader.line_num + 1
            if len(rows) == SAMPLE_ROWS:
                break
    except csv.Error:  # the reader proper meets the same cell and reports its line
        pass
    return rows


def _delimiter(sample: str) -> str:
    """The one that makes most rows show a mobile in a cell of its own; then the most regular one."""
    return max(DELIMITERS, key=lambda delimiter: _fitness(sample_rows(sample, delimiter)))


def _fitness(rows: _Rows) -> tuple[float, float]:
    filled = [cells for _, cells in rows if any(cells)] or [[]]
    with_mobile = sum(any(map(has_mobile, cells)) for cells in filled) / len(filled)
    width, times = Counter(map(len, filled)).most_common(1)[0]
    return round(with_mobile, 1), times / len(filled) if width > 1 else 0.0


def has_mobile(cell: str) -> bool:
    """Whether any number in the cell is a sendable mobile."""
    return sum(map(str.isdecimal, cell)) >= 11 and any(isinstance(verdict, str) for verdict in examine(cell))


def folded(header: str) -> str:
    """A header as it is compared: no case, width, blanks, punctuation or remarks in brackets; "手机号(必填)" is 手机号."""
    text = re.sub(r"\(.*?\)|【.*?】|\[.*?\]", "", unicodedata.normalize("NFKC", header).casefold())
    return "".join(sign for sign in text if sign.isalnum())


def _is_known(header: str) -> bool:
    # 手机1 and 电话二 are headers; 电话 and a whole number is a row, which a header would swallow.
    return _COUNTED.sub("", folded(header)) in KNOWN_HEADERS


def _header_index(rows: _Rows, column: str | None) -> int | None:
    """The row that names its columns: a known name, or the one given as `column`, before the first mobile."""
    for at, (__, cells) in enumerate(rows[:_HEADER_WITHIN]):
        if is_of_rejects(cells):
            return at
        if any(map(has_mobile, cells)):
            return None
        if any(_is_known(cell) or (column is not None and folded(column) == folded(cell) != "") for cell in cells):
            return at
    return None


def is_of_rejects(header: Sequence[str] | None) -> bool:
    """Whether this is the header of a file of rejects."""
    return header is not None and _MARK_OF_REJECTS in map(str.strip, header)


def placed(names: Sequence[str], *, header: Sequence[str] | None, width: int, source: Path | str) -> tuple[int, ...]:
    """The columns (from 0) that a text's placeholders name, by header as it is `folded`, else by place from 1.

    Raises PlanError for a name that is no column, with the nearest, and for one that is several.
    """
    return tuple(_placed(name, list(header or ()), width, source) for name in names)


def _placed(name: str, header: list[str], width: int, source: Path | str) -> int:
    wanted = folded(name)
    hits = [at for at, head in enumerate(header) if wanted and folded(head) == wanted]
    if len(hits) == 1:
        return hits[0]
    if len(hits) > 1:
        places = ", ".join(str(at + 1) for at in hits)
        raise PlanError(
            _(
                "{{{name}}} in the text: several columns of {source} are called that; name one by its place: {places}"
            ).format(name=name, source=source, places=places)
        )
    if name.isdecimal() and 1 <= int(name) <= width:
        return int(name) - 1
    known = [head.strip() for head in header if head.strip()]
    near = get_close_matches(wanted, list(map(folded, known)), n=1, cutoff=0.5)
    hint = _("; is {{{near}}} meant?").format(near=known[list(map(folded, known)).index(near[0])]) if near else _(".")
    has = (
        _("its header has {names}").format(names=", ".join(known))
        if known
        else _("it has no header, its {width} columns are {{1}} to {{{width}}}").format(width=width)
    )
    raise PlanError(
        _(
            "{{{name}}} in the text: {source} has no such column; {has}{hint} A brace that is meant as such is "
            "written twice: {{{{"
        ).format(name=name, source=source, has=has, hint=hint)
    )


def _is_header_cell(rows: _Rows, index: int) -> bool:
    """Whether the first row's cell is a word. A short or damaged number is data, and must be counted as a row."""
    if not rows or index >= len(rows[0][1]) or any(map(has_mobile, rows[0][1])):
        return False
    cell = rows[0][1][index]
    return any(map(str.isalpha, cell)) and sum(map(str.isdecimal, cell)) < 5


def _usual_width(data: _Rows) -> int:
    widths = Counter(len(cells) for _, cells in data if any(cells))
    return widths.most_common(1)[0][0] if widths else 1


def _label(header: Sequence[str] | None, index: int) -> str:
    """How the journal calls the column: in English, whoever reads it."""
    return _name(header, index) or f"column {index + 1}"


def _name(header: Sequence[str] | None, index: int) -> str:
    return header[index].strip() if header is not None and index < len(header) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """The sample, cut into cells, and the question which column holds the numbers."""

    source: Path | str
    header: Sequence[str] | None
    data: list[list[str]]
    width: int

    def named(self, column: str) -> int:
        """The column the operator named: a header first, else a 1-based index."""
        wanted = folded(column)
        hits = [at for at, name in enumerate(self.header or ()) if folded(name) == wanted]
        if len(hits) == 1:
            return hits[0]
        if len(hits) > 1:
            raise IntakeError(
                _("several columns are called {column!r}:{listing}").format(column=column, listing=self._listing(hits)),
                source=self.source,
            )
        if column.strip().isdecimal() and 1 <= int(column) <= self.width:
            return int(column) - 1
        known = _("; the header has: {names}").format(names=", ".join(filter(None, self.header))) if self.header else ""
        raise IntakeError(
            _("there is no column {column!r} among the {width}{known}").format(
                column=column, width=self.width, known=known
            ),
            source=self.source,
        )

    def guess(self) -> int:
        """The column whose name or content leaves no doubt."""
        named = [at for at, name in enumerate(self.header or ()) if _is_known(name)]
        shares = [self._share(at) for at in range(self.width)]
        best = max(shares)
        if best == 0:
            if len(named) == 1:
                return named[0]  # every number is bad or the list is empty: the reader says so row by row
            raise IntakeError(
                _("no column of mobile numbers was found; name it with --column{listing}").format(
                    listing=self._listing(named or range(self.width))
                ),
                source=self.source,
            )
        rivals = [at for at, share in enumerate(shares) if share >= best * _RIVAL_SHARE]
        choice = [at for at in rivals if at in named] if named else rivals
        if len(choice) == 1 and shares[choice[0]] >= best / 2:
            return choice[0]
        candidates = sorted({*rivals, *named})
        raise IntakeError(
            _("{count} columns could hold the numbers; say which one with --column{listing}").format(
                count=len(candidates), listing=self._listing(candidates)
            ),
            source=self.source,
        )

    def beside(self, index: int) -> list[int]:
        """The other columns in which more than a stray cell is a mobile: somebody may think that they are sent to as well."""
        return [at for at in range(self.width) if at != index and self._share(at) >= _NOTED_SHARE]

    def _share(self, index: int) -> float:
        """Which part of the rows shows a mobile in this column."""
        hits = sum(index < len(cells) and has_mobile(cells[index]) for cells in self.data)
        return hits / max(1, len(self.data))

    def _listing(self, columns: Sequence[int]) -> str:
        """One line a candidate: index, name, and the first cell that says something."""
        return "".join(
            _("\n  {place}: {name} (for example {example!r})").format(
                place=at + 1,
                name=_name(self.header, at) or _("column {place}").format(place=at + 1),
                example=self._example(at),
            )
            for at in columns
        )

    def _example(self, index: int) -> str:
        cells = [cells[index] for cells in self.data if index < len(cells) and cells[index].strip()]
        return next(filter(has_mobile, cells), cells[0] if cells else "")
