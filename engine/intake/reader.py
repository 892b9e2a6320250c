"""The rows of an inspected list, as Chunks of mobiles and exclusions, in order and flat in memory.

Two ways to the same result, chosen block by block. The quick one: a compiled pattern that takes one physical line a match
and gives the mobile of a row as it should be, or nothing; only the rows without one are cut into cells. It holds as long as
a row is a line, that is, as long as no quoted cell in the block has a quote or a line break inside. Where a block has no quote
at all and as many cells in every row, a pattern that need not look for line ends in each of them does. The careful one, for
the rest, is the stdlib's csv, which goes on into the next blocks until its row ends.
"""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import compress
from operator import attrgetter
from typing import Protocol

from engine.errors import IntakeError
from engine.intake.blocks import Block, blocks
from engine.intake.columns import has_mobile
from engine.intake.files import ListFile
from engine.intake.given import Content
from engine.intake.harmless import unharmed
from engine.intake.seen import Seen
from engine.intake.sheets import Sheet
from engine.language import N_, _
from engine.lines import tagged, untagged
from engine.model import Chunk, Excluded, Exclusion, Message
from engine.numbers import EMPTY_CELL, MOBILE, Refusal, Verdict, examine

_CHUNK_ROWS = 4_000  # at least, but for the last chunk; 20,000 no longer fit the cache and take a fifth longer
_BLOCK_BYTES = 64 << 10  # for the same reason
_CELL_BYTES = 64  # a cell of its own
_LONGEST_RAW = 200  # characters of a cell that an exclusion keeps

_CHANGED = N_("the file was changed after it was inspected: start again")
_DUPLICATE = Refusal(Exclusion.DUPLICATE, N_("the number stands further up in the list, or in the campaign, already"))
_BLANK_ROW = Refusal(Exclusion.EMPTY, N_("the row is blank"))


class Why(Protocol):
    """Why a row, or one number of it, is not a recipient."""

    @property
    def reason(self) -> Exclusion: ...

    @property
    def detail(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Texts:
    """What the rows of a list are told. `said` takes their cells in `columns` (from 0), a sequence a column; a text or a reason a row."""

    columns: tuple[int, ...]
    said: Callable[[Sequence[Sequence[str]]], Sequence[Message | Why]]


def read(list_file: ListFile, *, seen: Seen, texts: Texts | None = None) -> Iterator[Chunk]:
    """Give every row of the list to exactly one bucket: rows + extra == len(mobiles) + len(excluded) in each Chunk.

    A Chunk holds a few thousand rows. Mobiles are new to `seen` and added to it; those of a row without a text are not. A blank
    line is a row (empty); the line end that closes the file begins none. Raises IntakeError: the file was changed since `inspect`,
    a line or a cell too long, a quote without its partner.
    """
    return _read(list_file, seen=seen, texts=texts, quick=True)


def read_all(
    list_files: Sequence[ListFile], *, seen: Seen, texts: Sequence[Texts] | None = None, first: int = 0
) -> Iterator[Chunk]:
    """Every row of several lists, in their order. Lines are `tagged` with the place of their list, from `first` on.

    `texts`: for each of the lists. Raises IntakeError as `read`. See engine/lines.py.
    """
    for at, list_file in enumerate(list_files):
        chunks = read(list_file, seen=seen, texts=None if texts is None else texts[at])
        yield from (_tagged(first + at, chunk) for chunk in chunks) if first + at else chunks


def _tagged(source: int, chunk: Chunk) -> Chunk:
    original = chunk.original
    chunk.lines = [tagged(source, line) for line in chunk.lines]
    chunk.excluded = [row._replace(line=tagged(source, row.line)) for row in chunk.excluded]
    chunk.original = lambda line: original(untagged(line)[1])
    return chunk


def _read(
    list_file: ListFile, *, seen: Seen, quick: bool, texts: Texts | None = None, block_bytes: int = _BLOCK_BYTES
) -> Iterator[Chunk]:
    _refuse_if_changed(list_file)
    harvest = _Harvest(seen)
    try:
        for stretch in _stretches(list_file, texts, quick, block_bytes):
            harvest.take(stretch)
            if harvest.rows >= _CHUNK_ROWS:
                yield harvest.chunk()
    except UnicodeDecodeError as exc:  # inspect decoded every byte
        raise IntakeError(_(_CHANGED), source=list_file.source) from exc
    if harvest.rows:
        yield harvest.chunk()
    _refuse_if_changed(list_file)


def _stretches(list_file: ListFile, texts: Texts | None, quick: bool, block_bytes: int) -> Iterator[_Stretch]:
    table = _Table(list_file, texts)
    content = list_file.contents
    if isinstance(content, Sheet):
        yield from table.by_rows(content.rows())
        return
    stream = _data_blocks(list_file, content, block_bytes)
    for block in stream:
        rows = table.by_pattern(block) if quick else None
        if rows is not None:
            yield rows
        else:
            yield from table.by_csv(block, stream)


def _refuse_if_changed(list_file: ListFile) -> None:
    if list_file.contents.given.stamp() != (list_file.size, list_file.mtime_ns):
        raise IntakeError(_(_CHANGED), source=list_file.source)


def _data_blocks(list_file: ListFile, content: Content, block_bytes: int) -> Iterator[Block]:
    """The blocks without the header and whatever stands above it."""
    for block in blocks(
        content,
        encoding=list_file.encoding,
        bom_bytes=list_file.bom_bytes,
        transcode=list_file.transcoded,
        block_bytes=block_bytes,
    ):
        skip = list_file.first_line - block.first_line
        if skip <= 0:
            yield block
        elif (rest := block.data.split(b"\n", skip)[skip:]) and rest[0]:
            yield Block(first_line=list_file.first_line, data=rest[0])


_Judged = tuple[str, tuple[Verdict, ...]]  # the number cell as it stood, and a verdict for each number in it


_Said = Message | Why


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Consecutive rows. `found[i]` is the mobile of the row on `lines[i]`, "" where only `judge` can tell, which takes such places.

    `texts[i]` is what that row is told where `found[i]` is there; None: everybody is told the same. `cut(i)` are its cells, and
    `told(cells)` the texts of rows cut like that. `size`: bytes that keeping the rows takes, about.
    """

    found: list[str]
    lines: Sequence[int]
    judge: Callable[[Sequence[int]], Iterable[_Judged]]
    cut: Callable[[int], list[str]]
    size: int
    forget: Callable[[], None] = lambda: None  # what was made for the last cuts, and can be made again
    texts: list[_Said] | None = None
    told: Callable[[Sequence[Sequence[str]]], list[_Said]] = lambda rows: []


class _Table:
    """How one list cuts a row into cells, and what it makes of them."""

    def __init__(self, list_file: ListFile, texts: Texts | None) -> None:
        self._file, self._texts = list_file, texts
        self._column, self._width, self._delimiter = list_file.column, list_file.width, list_file.delimiter
        self._codec = "utf-8" if list_file.transcoded else list_file.encoding
        picked = () if texts is None else tuple(sorted({*texts.columns} - {self._column}))
        self._sign = self._delimiter.encode()
        self._shape = _Shape(self._delimiter, self._width)
        self._even_row = even_row_pattern(self._delimiter, self._column, self._width, picked=picked)
        self._plain_row = row_pattern(self._delimiter, self._column, self._width, quoted=False, picked=picked)
        self._quoted_row = row_pattern(self._delimiter, self._column, self._width, quoted=True, picked=picked)
        self._simply_quoted = simply_quoted_pattern(self._delimiter)
        # Which group of the patterns is which column; the mobile's own stands among those of the others.
        self._groups = sorted({*picked, self._column})

    # The quick way ------------------------------------------------------------------------------------------------

    def by_pattern(self, block: Block) -> _Stretch | None:
        """The rows of a block in which every row is a line; None where that is not certain."""
        # Latin-1 gives each byte a character of the same value: no decoding, and the patterns see bytes.
        text = block.data.decode("latin-1")
        quoted, even = '"' in text, self._shape.fits(block.data)
        pattern = self._quoted_row if quoted else self._even_row if even else self._plain_row
        found, texts = self._apart(pattern.findall(text), quoted)
        lines = range(block.first_line, block.first_line + len(found))
        row = _Lines(block.data)
        if quoted and not all(self._simply_quoted.fullmatch(row(at).decode("latin-1")) for at in _blanks(found)):
            return None
        judge_all = self._judge_even if even else partial(map, self._judge_line)
        return _Stretch(
            found=found,
            lines=lines,
            judge=lambda places: judge_all(list(map(row, places))),
            cut=lambda at: self._cut(row(at)),
            size=len(block.data),
            forget=row.forget,
            texts=texts,
            told=self._told,
        )

    def _apart(self, matched: list[str] | list[tuple[str, ...]], quoted: bool) -> tuple[list[str], list[_Said] | None]:
        """The mobiles, and the texts of their rows. A pattern with one group gives strings, with several tuples."""
        if self._texts is None or not matched:
            return list(matched), None if self._texts is None else []  # type: ignore[arg-type]  # one group: strings
        columns: list[Sequence[str]] = list(zip(*matched, strict=True)) if len(self._groups) > 1 else [matched]  # type: ignore[list-item]  # as above
        named = dict(zip(self._groups, columns, strict=True))
        plain = {at: named[at] if at == self._column else self._plain(named[at], quoted) for at in self._texts.columns}
        return list(named[self._column]), self._say([plain[at] for at in self._texts.columns])

    def _plain(self, cells: Sequence[str], quoted: bool) -> Sequence[str]:
        """The cells of a column as a pattern gives them, in Latin-1 and with their quotes: as they were meant."""
        if quoted:
            cells = [cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell for cell in cells]
        return self._decoded("\n".join(cells)).split("\n")  # all at once; no cell of a line holds a line end

    def _told(self, rows: Sequence[Sequence[str]]) -> list[_Said]:
        """The texts of rows that are cut into cells."""
        assert self._texts is not None
        return self._say([[cells[at] if at < len(cells) else "" for cells in rows] for at in self._texts.columns])

    def _say(self, columns: Sequence[Sequence[str]]) -> list[_Said]:
        assert self._texts is not None
        if self._file.is_of_rejects:
            columns = [list(map(unharmed, cells)) for cells in columns]
        return list(self._texts.said(columns))

    def _judge_even(self, lines: list[bytes]) -> Iterator[_Judged]:
        """Lines of an even block. Only their number cells are cut out, and all decoded at once: none holds a line end."""
        cells = [line.split(self._sign, self._column + 1)[self._column] for line in lines]
        for line, cell in zip(lines, self._text(b"\n".join(cells)).split("\n") if cells else (), strict=True):
            yield self._judge_cell(cell, line)

    def _judge_line(self, line: bytes) -> _Judged:
        """A physical line that is a row. The usual one is not cut further than its number cell."""
        parts = line.split(self._sign, self._column + 1)
        if b'"' in line or len(parts) <= self._column or line.count(self._sign) >= self._width:
            return self._judge(self._cut(line))
        return self._judge_cell(self._text(parts[self._column]), line)

    def _judge_cell(self, cell: str, line: bytes) -> _Judged:
        return (cell, examine(cell)) if cell and not cell.isspace() else self._judge(self._cut(line))

    def _decoded(self, text: str) -> str:
        return text if text.isascii() else text.encode("latin-1").decode(self._codec)

    def _text(self, data: bytes) -> str:
        return data.decode("ascii" if data.isascii() else self._codec)

    def _cut(self, line: bytes) -> list[str]:
        text = self._text(line)
        return next(csv.reader([text], delimiter=self._delimiter), []) if '"' in text else text.split(self._delimiter)

    # The careful way ----------------------------------------------------------------------------------------------

    def by_csv(self, block: Block, stream: Iterator[Block]) -> Iterator[_Stretch]:
        """The rows that begin in `block`, and in the blocks of `stream` that a quoted cell reaches into."""
        feed = _Feed(block, stream, self._codec)
        reader = csv.reader(feed, delimiter=self._delimiter)
        rows: list[list[str]] = []
        lines: list[int] = []
        while not feed.is_between_blocks:
            begin = feed.line
            cells = self._next_row(reader, begin)
            if feed.ended_inside_a_row:
                raise self._open_quote(begin)
            self._refuse_swallowed_rows(cells, begin, feed.line)
            rows.append(cells)
            lines.append(begin)
            if len(rows) == _CHUNK_ROWS:
                yield self._stretch(rows, lines)
                rows, lines = [], []
        if rows:
            yield self._stretch(rows, lines)

    # A sheet ---------------------------------------------------------------------------------------------------------

    def by_rows(self, rows: Iterator[tuple[int, list[list[str]]]]) -> Iterator[_Stretch]:
        """Rows of a sheet, which comes cut into cells; each stretch with the row number of its first."""
        for first, cut in rows:
            skip = max(0, self._file.first_line - first)
            if data := cut[skip:]:
                yield self._stretch(data, range(first + skip, first + len(cut)))

    def _stretch(self, rows: list[list[str]], lines: Sequence[int]) -> _Stretch:
        found = list(map(self._clean_mobile, rows))
        texts = None if self._texts is None else self._told(rows)
        return _Stretch(
            found=found,
            lines=lines,
            judge=lambda places: [self._judge(rows[at]) for at in places],
            cut=lambda at: rows[at],
            size=sum(map(len, rows)) * _CELL_BYTES,
            texts=texts,
            told=self._told,
        )

    def _clean_mobile(self, cells: list[str]) -> str:
        if len(cells) <= self._column or (len(cells) > self._width and any(cells[self._width :])):
            return ""
        cell = cells[self._column]
        if self._delimiter != "\t":
            cell = cell.removesuffix("\t")  # as the patterns do
        return cell if MOBILE.fullmatch(cell) else ""

    def _next_row(self, reader: Iterator[list[str]], begin: int) -> list[str]:
        try:
            return next(reader)
        except csv.Error as exc:  # a cell above csv's 128 Ki characters: nobody writes one, quotes that never close do
            raise self._open_quote(begin) from exc

    def _open_quote(self, line: int) -> IntakeError:
        return IntakeError(
            _('a quote (") opens a cell of the row that begins here and does not close it: repair or remove it'),
            source=self._file.source,
            line=line,
        )

    def _refuse_swallowed_rows(self, cells: list[str], begin: int, end: int) -> None:
        """A stray quote finds its partner rows further down; the people in between must not vanish into one cell."""
        if end - begin == 1:
            return
        for inner in (line for cell in cells if "\n" in cell for line in cell.split("\n")):
            if self._delimiter in inner and any(map(has_mobile, inner.split(self._delimiter))):
                raise IntakeError(
                    _(
                        'a cell in quotes reaches from here to line {line} and holds parts of other rows: a quote (") is missing '
                        "or too many"
                    ).format(line=end - 1),
                    source=self._file.source,
                    line=begin,
                )

    # What a row says ----------------------------------------------------------------------------------------------

    def _judge(self, cells: list[str]) -> _Judged:
        cell = cells[self._column] if len(cells) > self._column else ""
        if len(cells) > self._width and any(map(str.strip, cells[self._width :])):
            return cell, (self._malformed(cells, _("more")),)
        if len(cells) <= self._column and any(map(str.strip, cells)):
            return cell, (self._malformed(cells, _("fewer")),)
        if not cell or cell.isspace():
            return cell, (EMPTY_CELL if any(map(str.strip, cells)) else _BLANK_ROW,)
        return cell, examine(cell)

    def _malformed(self, cells: list[str], how: str) -> Refusal:
        return Refusal(
            Exclusion.MALFORMED,
            _("the row has {count} cells, {how} than the {width} of the list: its columns may be shifted").format(
                count=len(cells), how=how, width=self._width
            ),
        )


class _Lines:
    """The lines of a block by their place. All are cut when one is asked for: half as large again as the block."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._cut: list[bytes] | None = None

    def __call__(self, at: int) -> bytes:
        if self._cut is None:
            self._cut = self._data.split(b"\n")
        return self._cut[at]

    def forget(self) -> None:
        """Keep only the block."""
        self._cut = None


class _Shape:
    """Whether a block has as many cells in every row, and no quote. Seen at a byte a nanosecond."""

    def __init__(self, delimiter: str, width: int) -> None:
        self._row = delimiter.encode() * (width - 1) + b"\n"
        self._beside = bytes(set(range(256)) - {*delimiter.encode(), *b'\n"'})

    def fits(self, data: bytes) -> bool:
        """Of whole lines."""
        seen = data.translate(None, self._beside)
        return seen == self._row * (len(seen) // len(self._row))


class _Feed:
    """The lines of a block for csv. It crosses into the next block only while a row is open."""

    def __init__(self, block: Block, stream: Iterator[Block], codec: str) -> None:
        self._stream, self._codec = stream, codec
        self._lines = self._decoded(block)
        self._left = len(self._lines)
        self.line = block.first_line  # the next line to be given
        self.ended_inside_a_row = False

    @property
    def is_between_blocks(self) -> bool:
        """Whether every line was given, so that the row just read ended with its block."""
        return self._left == 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._left == 0:
            self._cross()
        given = self._lines[-self._left]
        self._left -= 1
        self.line += 1
        return given

    def _cross(self) -> None:
        block = next(self._stream, None)
        if block is None:
            self.ended_inside_a_row = True
            raise StopIteration
        self._lines = self._decoded(block)
        self._left = len(self._lines)

    def _decoded(self, block: Block) -> list[str]:
        # Not str.splitlines: it also breaks at form feeds and U+2028, which are no line ends here.
        return list(io.StringIO(block.data.decode(self._codec), newline="\n"))


def row_pattern(
    delimiter: str, column: int, width: int, *, quoted: bool, picked: Sequence[int] = ()
) -> re.Pattern[str]:
    """One line a match. A group for `column`: the mobile of a row as it should be, "" for every other line.

    As it should be: a clean mobile in `column` and at most `width` cells, or only empty ones beyond. Cells may be quoted
    (`quoted`) when no line break is inside. Every column of `picked` has a group of its own, for the cell as it is written;
    then a row that ends before the last of them is none as it should be. Every single-character run is possessive, so no line
    is walked twice.
    """
    sign = re.escape(delimiter)
    cell = _cell(sign) if quoted else rf'[^{sign}"\n]*+'
    tab = "" if delimiter == "\t" else r"\t?"  # shops export a tab behind the number, against Excel's floats
    number = f"(1[3-9][0-9]{{9}}){tab}"
    if quoted:
        # The quotes stand on both sides or on neither; a second group would make findall build tuples.
        number = rf'(?:"(?=[0-9]{{11}}{tab}"))?{number}(?:(?<="[0-9]{{11}})"|(?<="[0-9]{{11}}\t)")?'
    last = max([column, *picked])
    cells = [number if at == column else f"({cell})" if at in picked else cell for at in range(last + 1)]
    after = f"{sign}{cell}" * (width - last - 1)
    # Complete rows first: one straight run. Then those whose trailing cells are missing or too many but empty.
    fewer_or_more = f"(?:{sign}{cell}){{0,{max(0, width - last - 1)}}}{sign}*+"
    return re.compile(rf"{sign.join(cells)}(?:{after}\n|{fewer_or_more}\n)|.*+\n")


def even_row_pattern(delimiter: str, column: int, width: int, *, picked: Sequence[int] = ()) -> re.Pattern[str]:
    """The same as `row_pattern` for lines of exactly `width` cells without a quote.

    Where the next delimiter is in the same line for certain, a cell is a run up to one sign: `re` goes through that twice as fast
    as through a run up to one of several.
    """
    sign = re.escape(delimiter)
    tab = "" if delimiter == "\t" else r"\t?"
    last = max([column, *picked])
    cells = [
        f"(1[3-9][0-9]{{9}}){tab}" if at == column else f"({cell})" if at in picked else cell
        for at, cell in ((at, rf"[^{sign}]*+" if at < width - 1 else r"[^\n]*+") for at in range(last + 1))
    ]
    after = rf"{sign}.*+\n" if last < width - 1 else r"\n"
    return re.compile(rf"{sign.join(cells)}{after}|.*+\n")


def simply_quoted_pattern(delimiter: str) -> re.Pattern[str]:
    """A line whose quotes, if any, enclose whole cells with no line break inside: then it is a row."""
    sign = re.escape(delimiter)
    return re.compile(rf"{_cell(sign)}(?:{sign}{_cell(sign)})*")


def _cell(sign: str) -> str:
    """A cell within one line, quoted (a quote inside is written twice) or not. `sign`: the delimiter, escaped."""
    return rf'(?:"[^"\n]*+(?:""[^"\n]*+)*"|[^{sign}"\n]*+)'


class _Harvest:
    """Collects judged rows until they are a chunk, then drops what is known already.

    In two steps because of the processor's cache: small blocks are cut fastest, and many numbers at once are looked up fastest.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._begin()

    def _begin(self) -> None:
        self.rows = 0
        self._extra = 0
        self._mobiles: list[str] = []
        self._lines: list[int] = []
        self._texts: list[Message] | None = None
        self._excluded: list[Excluded] = []
        self._originals: dict[int, str] = {}  # line -> number cell, where the cell is not the mobile itself
        self._stretches: list[_Stretch] = []

    def take(self, stretch: _Stretch) -> None:
        """Add consecutive rows; those without a mobile are judged now."""
        found, lines, texts = stretch.found, stretch.lines, stretch.texts
        several: dict[int, list[str]] = {}  # rows that hold more than one mobile
        judged: list[int] = []
        unclear = list(_blanks(found))
        for at, (raw, verdicts) in zip(unclear, stretch.judge(unclear), strict=True):
            mobiles = [verdict for verdict in verdicts if isinstance(verdict, str)]
            if len(mobiles) < len(verdicts):
                self._excluded += [_excluded(lines[at], raw, why) for why in verdicts if not isinstance(why, str)]
            if mobiles:
                found[at] = mobiles[0]
                self._originals[lines[at]] = raw
                judged.append(at)
            if len(verdicts) > 1:
                self._extra += len(verdicts) - 1
                several[at] = mobiles
        self.rows += len(found)
        self._stretches.append(stretch)
        if texts is not None:
            for at, text in zip(judged, stretch.told(list(map(stretch.cut, judged))), strict=True):
                texts[at] = text
            self._leave_out_untold(stretch, texts, several)
        self._add(stretch, texts, several)

    def _leave_out_untold(self, stretch: _Stretch, texts: list[_Said], several: dict[int, list[str]]) -> None:
        """Rows without a text. Before their numbers count as known: who stands further down with a text gets it."""
        found, lines = stretch.found, stretch.lines
        for at, why in [(at, text) for at, text in enumerate(texts) if not isinstance(text, Message) and found[at]]:
            raw = self._originals.get(lines[at], found[at])
            self._excluded += [_excluded(lines[at], raw, why)] * len(several.pop(at, ("one",)))
            found[at] = ""

    def _add(self, stretch: _Stretch, texts: list[_Said] | None, several: dict[int, list[str]]) -> None:
        found = stretch.found
        places: Sequence[int] = range(len(found))
        if several:
            places = [at for at, first in enumerate(found) if first for _ in several.get(at, (first,))]
            self._mobiles += [mobile for at, first in enumerate(found) if first for mobile in several.get(at, (first,))]
            self._lines += [stretch.lines[at] for at in places]
        else:
            self._mobiles += filter(None, found)
            self._lines += compress(stretch.lines, found)
        if texts is not None:
            told = [texts[at] for at in places] if several else compress(texts, found)
            self._texts = self._texts or []
            self._texts += told  # type: ignore[arg-type]  # the others were left out

    def chunk(self) -> Chunk:
        """What was taken, without the numbers known already, which become exclusions. Begins anew."""
        if repeats := self._seen.admit(self._mobiles):
            self._drop(repeats)
        self._excluded.sort(key=attrgetter("line"))
        chunk = Chunk(
            rows=self.rows,
            mobiles=self._mobiles,
            lines=self._lines,
            extra=self._extra,
            excluded=self._excluded,
            texts=self._texts,
            original=_Originals(self._stretches),
            size=sum(stretch.size for stretch in self._stretches),
        )
        for stretch in self._stretches:
            stretch.forget()
        self._begin()
        return chunk

    def _drop(self, repeats: list[int]) -> None:
        for at in repeats:
            line, mobile = self._lines[at], self._mobiles[at]
            self._excluded.append(_excluded(line, self._originals.get(line, mobile), _DUPLICATE))
            self._mobiles[at] = ""
        self._lines = list(compress(self._lines, self._mobiles))
        if self._texts is not None:
            self._texts = list(compress(self._texts, self._mobiles))
        self._mobiles = list(filter(None, self._mobiles))


class _Originals:
    """The cells of rows, by their line. Rows are cut only when somebody asks."""

    def __init__(self, stretches: list[_Stretch]) -> None:
        # Not who was found in them.
        self._kept = [(each.lines, each.cut, each.forget) for each in stretches if each.found]
        self._first = [lines[0] for lines, __, ___ in self._kept]
        self._last: Callable[[], None] = lambda: None

    def __call__(self, line: int) -> list[str]:
        lines, cut, forget = self._kept[bisect_right(self._first, line) - 1]
        if forget is not self._last:  # lines come in their order
            self._last()
            self._last = forget
        return cut(bisect_right(lines, line) - 1)


def _blanks(found: list[str]) -> Iterator[int]:
    """Where nothing was found."""
    at = -1
    with suppress(ValueError):
        while True:
            at = found.index("", at + 1)
            yield at


def _excluded(line: int, raw: str, why: Why) -> Excluded:
    return Excluded(line, raw[:_LONGEST_RAW], why.reason, why.detail)
