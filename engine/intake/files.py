"""A list file before it is read: what it is, how it is encoded, where the numbers stand.

Encodings: byte order mark, else strict UTF-8, else strict GB18030, else refused; detectors that guess call short GBK lists
Korean. The hash, the size and the decoding come from one pass over the bytes.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import IntakeError
from engine.intake.blocks import AS_THEY_ARE, blocks, line_ended
from engine.intake.columns import Layout, is_of_rejects, recognise, recognise_rows
from engine.intake.given import Content, Given, GivenFile, Plain
from engine.intake.sheets import Sheet
from engine.language import N_, _

_PASS_BYTES = 1 << 17  # pieces of 1 MiB, and the texts made of them, take memory anew each time: a fifth longer
_SAMPLE_BYTES = 1 << 18

# UTF-32 before UTF-16: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_SAVE_AS_CSV = N_('open it and save it as "CSV UTF-8"')
_NOT_A_LIST = (
    # Workbooks and archives are read as such where they are the file itself; here they are inside an archive.
    (b"PK\x03\x04", N_("an Excel workbook or an archive inside an archive: unpack it and give what is in it")),
    (b"\xd0\xcf\x11\xe0", N_("an Excel workbook (.xls) inside an archive: unpack it and give the workbook")),
    (b"\x1f\x8b", N_("an archive inside an archive: unpack it and give what is in it")),
    (b"Rar!", N_("this is a RAR archive: unpack it first")),
    (b"7z\xbc\xaf", N_("this is a 7z archive: unpack it first")),
    (b"%PDF", N_("this is a PDF, not a CSV file")),
    (b"{\\rtf", N_("this is an RTF document, not a CSV file")),
)
_JSON = (b'{"', b"[{", b"{\n", b"[\n")
_MARKUP = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta")  # what web pages export as .xls
# GB2312 on a label means GBK in practice, and GB18030 holds both.
_GB = ("gb2312", "gbk", "gb18030")
# Python's escapes and the encodings of mail and host names: they make characters that no file has, or fail in ways of their own.
_NOT_OF_FILES = ("unicode-escape", "raw-unicode-escape", "utf-7", "idna", "punycode")
_TAR_AT = 257  # where a tar has its magic


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One inspected list. `column` counts from 0; `preview_rows` are the first three rows of data.

    Of a workbook, `encoding` is "workbook", and `first_line` a row number of the sheet.
    """

    path: Path  # of the file as it was given; - is standard input
    size: int  # bytes, as given
    mtime_ns: int
    sha256: str  # hex, of the bytes as given
    encoding: str  # utf-8, gb18030, utf-16-le … : Python's name
    bom_bytes: int
    delimiter: str
    column: int
    column_label: str
    width: int
    header: tuple[str, ...] | None
    first_line: int
    preview_rows: tuple[tuple[str, ...], ...]
    passed_over: tuple[str, ...] = ()  # further columns with mobiles in them, by name or place
    inside: str = ""  # the archive's member or the workbook's sheet that this list is
    content: Content | Sheet | None = field(default=None, repr=False, compare=False)  # None: the file's own bytes

    @property
    def contents(self) -> Content | Sheet:
        """What is read."""
        return self.content or Plain(GivenFile(self.path))

    @property
    def source(self) -> Path | str:
        """What errors call it."""
        return self.contents.source

    @property
    def label(self) -> str:
        """What people call it: the path, with the member or the sheet behind it, or "standard input"."""
        return str(self.source)

    @property
    def is_of_rejects(self) -> bool:
        """Whether these are rows that were left out before, come back repaired."""
        return is_of_rejects(self.header)

    @property
    def transcoded(self) -> bool:
        """Whether the reader sees UTF-8 instead of the file's own bytes (see blocks.py)."""
        return self.encoding not in AS_THEY_ARE or (self.encoding == "gb18030" and self.delimiter == "|")


def examined(
    content: Content | Sheet, *, column: str | None = None, encoding: str | None = None, sha256: str | None = None
) -> ListFile:
    """Find out everything `read` needs, without keeping a row. `sha256`: of the file as given, where it is known already.

    Raises IntakeError: empty, no list, binary, undecodable (with the line), no or two number columns.
    """
    stamp = content.given.stamp()
    if isinstance(content, Sheet):
        # The sample may be cut by the end of the sheet only, so its last row is as whole as the others.
        layout = recognise_rows(content.sample(), column=column, source=content.source)
        return _list_file(content, stamp, sha256 or hash_of(content.given), "workbook", 0, layout)
    with content.opened() as file:
        head = file.read(_PASS_BYTES)
    _refuse_other_formats(content, head)
    mark, marked = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", None))
    chosen = marked if encoding is None else _codec(encoding, marked, content)
    bom_bytes = len(mark) if chosen == marked else 0
    own_sha256, encoding = _hash_and_decode(content, chosen, bom_bytes)
    if not isinstance(content, Plain):
        own_sha256 = sha256 or hash_of(content.given)
    layout = recognise(_sample(content, encoding, bom_bytes), column=column, source=content.source)
    return _list_file(content, stamp, own_sha256, encoding, bom_bytes, layout)


def hash_of(given: Given) -> str:
    """The sha256 of the bytes as they were given, in hex. Raises IntakeError."""
    digest = hashlib.sha256()
    with given.opened() as file:
        while piece := file.read(_PASS_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _list_file(
    content: Content | Sheet, stamp: tuple[int, int], sha256: str, encoding: str, bom_bytes: int, layout: Layout
) -> ListFile:
    return ListFile(
        path=content.given.path,
        size=stamp[0],
        mtime_ns=stamp[1],
        sha256=sha256,
        encoding=encoding,
        bom_bytes=bom_bytes,
        delimiter=layout.delimiter,
        column=layout.column,
        column_label=layout.label,
        width=layout.width,
        header=layout.header,
        first_line=layout.first_line,
        preview_rows=layout.preview_rows,
        passed_over=layout.passed_over,
        inside=content.inside,
        content=content,
    )


def _refuse_other_formats(content: Content, head: bytes) -> None:
    if not head:
        raise IntakeError(_("the list is empty"), source=content.source)
    for magic, problem in _NOT_A_LIST:
        if head.startswith(magic):
            raise IntakeError(_(problem), source=content.source)
    if head[_TAR_AT:].startswith(b"ustar"):
        raise IntakeError(_("this is a tar archive: unpack it first"), source=content.source)
    begin = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begin.replace(b"\r", b"").startswith(_JSON):
        raise IntakeError(_("this is JSON, not a list with one row a line: export it as CSV"), source=content.source)
    if begin.startswith(_MARKUP):
        raise IntakeError(
            _("this is a web page or XML (often named .xls), not a CSV file: {save_as_csv}").format(
                save_as_csv=_(_SAVE_AS_CSV)
            ),
            source=content.source,
        )


def _codec(encoding: str, marked: str | None, content: Content) -> str:
    """Python's name for the encoding the operator gave; the mark decides the byte order that "utf-16" leaves open."""
    unknown = IntakeError(
        _("{encoding!r} is no encoding of lists; usual ones are utf-8, gb18030, utf-16").format(encoding=encoding),
        source=content.source,
    )
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)  # a text encoding, not hex or zlib
    except (LookupError, ValueError) as exc:  # ValueError: a NUL in the name, or no codec at all
        raise unknown from exc
    if name in _NOT_OF_FILES:
        raise unknown
    if name == "utf-8-sig":
        return "utf-8"
    if name in ("utf-16", "utf-32"):
        return marked if marked is not None and marked.startswith(name) else f"{name}-le"
    return "gb18030" if name in _GB else name


def _hash_and_decode(content: Content, chosen: str | None, bom_bytes: int) -> tuple[str, str]:
    """One pass: the sha256 in hex, and the encoding that decodes every byte (`chosen`, or the first that does)."""
    digest = hashlib.sha256()
    trials = [_Trial(name, bom_bytes) for name in ([chosen] if chosen else AS_THEY_ARE)]
    wide = chosen is not None and chosen.startswith(("utf-16", "utf-32"))
    at = 0
    with content.opened() as file:
        while piece := file.read(_PASS_BYTES):
            digest.update(piece)
            if not wide and b"\0" in piece:
                raise _binary(content, at + piece.index(b"\0"))
            text = piece[bom_bytes:] if at == 0 else piece
            at += len(piece)
            _advance(trials, text)
    _advance(trials, b"", final=True)
    for trial in trials:
        if trial.failed_at is None:
            return digest.hexdigest(), trial.encoding
    raise _undecodable(content, trials, chosen)


class _Trial:
    """One encoding, tried strictly. `failed_at` is the offset of the first byte it cannot take."""

    def __init__(self, encoding: str, start: int) -> None:
        self.encoding = encoding
        self.failed_at: int | None = None
        self._at = start  # bytes handed over so far
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def feed(self, piece: bytes, *, final: bool) -> None:
        """Decode the next piece and forget it."""
        pending = len(self._decoder.getstate()[0])
        if pending == 0 and self.encoding in AS_THEY_ARE and piece.isascii():
            self._at += len(piece)
            return
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError as exc:
            self.failed_at = self._at - pending + exc.start
        self._at += len(piece)


def _advance(trials: list[_Trial], piece: bytes, *, final: bool = False) -> None:
    for trial in trials:
        if trial.failed_at is None:
            trial.feed(piece, final=final)


def _line_of(content: Content, offset: int, encoding: str) -> int:
    """The physical line that `offset` stands on. Only for error texts: it reads the file again up to there."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    return 1 + sum(
        piece.count(b"\n")
        for piece in line_ended(decoder.decode(piece).encode(errors="replace") for piece in _until(content, offset))
    )


def _until(content: Content, offset: int) -> Iterator[bytes]:
    with content.opened() as file:
        while offset > 0 and (piece := file.read(min(offset, _PASS_BYTES))):
            offset -= len(piece)
            yield piece


def _binary(content: Content, offset: int) -> IntakeError:
    with content.opened() as file:
        head = file.read(1024)
    first, second = head[::2].count(0), head[1::2].count(0)
    if len(head) > 3 and max(first, second) > len(head) / 4 and min(first, second) < len(head) / 8:
        order = "le" if second >= first else "be"
        return IntakeError(
            _("this looks like UTF-16 without a byte order mark: try --encoding utf-16-{order}").format(order=order),
            source=content.source,
        )
    line = _line_of(content, offset, "latin-1")
    return IntakeError(
        _("a NUL byte: this is a binary or damaged file, not a CSV list"), source=content.source, line=line
    )


def _undecodable(content: Content, trials: list[_Trial], chosen: str | None) -> IntakeError:
    """The encoding that came furthest names the place."""
    furthest = max(trials, key=lambda trial: trial.failed_at or 0)
    offset = furthest.failed_at or 0
    line = _line_of(content, offset, furthest.encoding)
    byte = _byte_at(content, offset)
    if chosen is None:
        problem = _(
            "neither UTF-8 nor GB18030: byte {byte} at offset {offset} fits neither; say what it is with --encoding"
        ).format(byte=byte, offset=offset)
    else:
        problem = _(
            "not {chosen}: byte {byte} at offset {offset} does not decode; leave --encoding away to have it found out"
        ).format(chosen=chosen, byte=byte, offset=offset)
    return IntakeError(problem, source=content.source, line=line)


def _byte_at(content: Content, offset: int) -> str:
    with content.opened() as file:
        while offset > 0 and (piece := file.read(min(offset, _PASS_BYTES))):
            offset -= len(piece)
        return file.read(1).hex().upper() or _("the end of the file")


def _sample(content: Content, encoding: str, bom_bytes: int) -> str:
    """The first whole lines, decoded, with LF at every end."""
    first = next(
        blocks(
            content,
            encoding=encoding,
            bom_bytes=bom_bytes,
            transcode=encoding not in AS_THEY_ARE,
            block_bytes=_SAMPLE_BYTES,
        ),
        None,
    )
    if first is None:
        raise IntakeError(_("the file is empty but for its byte order mark"), source=content.source)
    return first.data.decode(encoding if encoding in AS_THEY_ARE else "utf-8")
