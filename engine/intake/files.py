"""A list file before it is read: what it is, how it is encoded, where the numbers stand.

Encodings: byte order mark, else strict UTF-8, else strict GB18030, else refused; detectors that guess call short GBK lists
Korean. The hash, the size and the decoding come from one pass over the bytes.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engine.errors import IntakeError
from engine.intake.blocks import AS_THEY_ARE, blocks, line_ended
from engine.intake.columns import Layout, recognise

_PASS_BYTES = 1 << 20
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
_SAVE_AS_CSV = 'open it and save it as "CSV UTF-8"'
_NOT_A_LIST = (
    (b"PK\x03\x04", f"this is an Excel workbook (or a zip archive), not a CSV file: {_SAVE_AS_CSV}"),
    (b"\xd0\xcf\x11\xe0", f"this is an old Excel workbook (.xls), not a CSV file: {_SAVE_AS_CSV}"),
    (b"\x1f\x8b", "this is a gzip archive: unpack it first"),
    (b"Rar!", "this is a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "this is a 7z archive: unpack it first"),
    (b"%PDF", "this is a PDF, not a CSV file"),
    (b"{\\rtf", "this is an RTF document, not a CSV file"),
)
_MARKUP = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta")  # what web pages export as .xls
# GB2312 on a label means GBK in practice, and GB18030 holds both.
_GB = ("gb2312", "gbk", "gb18030")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFile:
    """One inspected list. `column` counts from 0; `preview_rows` are the first three rows of data."""

    path: Path
    size: int  # bytes
    mtime_ns: int
    sha256: str  # hex, of the file's bytes
    encoding: str  # utf-8, gb18030, utf-16-le … : Python's name
    bom_bytes: int
    delimiter: str
    column: int
    column_label: str
    width: int
    header: tuple[str, ...] | None
    first_line: int
    preview_rows: tuple[tuple[str, ...], ...]

    @property
    def transcoded(self) -> bool:
        """Whether the reader sees UTF-8 instead of the file's own bytes (see blocks.py)."""
        return self.encoding not in AS_THEY_ARE or (self.encoding == "gb18030" and self.delimiter == "|")


def inspect(path: Path, *, column: str | None = None, encoding: str | None = None) -> ListFile:
    """Find out everything `read` needs, without keeping a row.

    `column`: header name or 1-based index; `encoding`: a Python codec name; None: found out, or refused when in doubt.
    Raises IntakeError: missing, empty, a folder, a workbook, binary, undecodable (with the line), no or two number columns.
    """
    with opened(path) as file:
        status = os.fstat(file.fileno())
        head = file.read(_PASS_BYTES)
        _refuse_other_formats(path, head)
        mark, marked = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", None))
        chosen = marked if encoding is None else _codec(encoding, marked, path)
        bom_bytes = len(mark) if chosen == marked else 0
        file.seek(0)
        sha256, encoding = _hash_and_decode(path, file, chosen, bom_bytes)
    sample = _sample(path, encoding, bom_bytes)
    layout = recognise(sample, column=column, source=path)
    return _list_file(path, status, sha256, encoding, bom_bytes, layout)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, open for reading. Raises IntakeError where there is no regular file with something in it."""
    try:
        # Not blocking: opening a pipe would wait for its writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except FileNotFoundError as exc:
        raise IntakeError("there is no such file", source=path) from exc
    except IsADirectoryError as exc:
        raise IntakeError("this is a folder, not a file", source=path) from exc
    except OSError as exc:
        raise IntakeError(f"cannot be opened: {exc.strerror or exc}", source=path) from exc
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise IntakeError("not a regular file: save the list to a file first, it is read twice", source=path)
        if status.st_size == 0:
            raise IntakeError("the file is empty", source=path)
        try:
            yield file
        except OSError as exc:
            raise IntakeError(f"cannot be read: {exc.strerror or exc}", source=path) from exc


def _list_file(
    path: Path, status: os.stat_result, sha256: str, encoding: str, bom_bytes: int, layout: Layout
) -> ListFile:
    return ListFile(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
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
    )


def _refuse_other_formats(path: Path, head: bytes) -> None:
    for magic, problem in _NOT_A_LIST:
        if head.startswith(magic):
            raise IntakeError(problem, source=path)
    if head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
        raise IntakeError(f"this is a web page or XML (often named .xls), not a CSV file: {_SAVE_AS_CSV}", source=path)


def _codec(encoding: str, marked: str | None, path: Path) -> str:
    """Python's name for the encoding the operator gave; the mark decides the byte order that "utf-16" leaves open."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)  # a text encoding, not hex or zlib
    except LookupError as exc:
        raise IntakeError(f"{encoding!r} is no encoding; usual ones are utf-8, gb18030, utf-16", source=path) from exc
    if name == "utf-8-sig":
        return "utf-8"
    if name in ("utf-16", "utf-32"):
        return marked if marked is not None and marked.startswith(name) else f"{name}-le"
    return "gb18030" if name in _GB else name


def _hash_and_decode(path: Path, file: IO[bytes], chosen: str | None, bom_bytes: int) -> tuple[str, str]:
    """One pass: the sha256 in hex, and the encoding that decodes every byte (`chosen`, or the first that does)."""
    digest = hashlib.sha256()
    trials = [_Trial(name, bom_bytes) for name in ([chosen] if chosen else AS_THEY_ARE)]
    wide = chosen is not None and chosen.startswith(("utf-16", "utf-32"))
    at = 0
    while piece := file.read(_PASS_BYTES):
        digest.update(piece)
        if not wide and b"\0" in piece:
            raise _binary(path, file, at + piece.index(b"\0"))
        text = piece[bom_bytes:] if at == 0 else piece
        at += len(piece)
        _advance(trials, text)
    _advance(trials, b"", final=True)
    for trial in trials:
        if trial.failed_at is None:
            return digest.hexdigest(), trial.encoding
    raise _undecodable(path, file, trials, chosen)


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


def _line_of(path: Path, offset: int, encoding: str) -> int:
    """The physical line that `offset` stands on. Only for error texts: it reads the file again up to there."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    return 1 + sum(
        piece.count(b"\n")
        for piece in line_ended(decoder.decode(piece).encode(errors="replace") for piece in _until(path, offset))
    )


def _until(path: Path, offset: int) -> Iterator[bytes]:
    with opened(path) as file:
        while offset > 0 and (piece := file.read(min(offset, _PASS_BYTES))):
            offset -= len(piece)
            yield piece


def _binary(path: Path, file: IO[bytes], offset: int) -> IntakeError:
    file.seek(0)
    head = file.read(1024)
    if head[1::2].count(0) > len(head) / 4 or head[::2].count(0) > len(head) / 4:
        order = "le" if head[1::2].count(0) >= head[::2].count(0) else "be"
        return IntakeError(
            f"this looks like UTF-16 without a byte order mark: try --encoding utf-16-{order}", source=path
        )
    line = _line_of(path, offset, "latin-1")
    return IntakeError("a NUL byte: this is a binary or damaged file, not a CSV list", source=path, line=line)


def _undecodable(path: Path, file: IO[bytes], trials: list[_Trial], chosen: str | None) -> IntakeError:
    """The encoding that came furthest names the place."""
    furthest = max(trials, key=lambda trial: trial.failed_at or 0)
    offset = furthest.failed_at or 0
    line = _line_of(path, offset, furthest.encoding)
    file.seek(offset)
    byte = file.read(1).hex().upper() or "the end of the file"
    if chosen is None:
        problem = (
            f"neither UTF-8 nor GB18030: byte {byte} at offset {offset} fits neither; say what it is with --encoding"
        )
    else:
        problem = (
            f"not {chosen}: byte {byte} at offset {offset} does not decode; leave --encoding away to have it found out"
        )
    return IntakeError(problem, source=path, line=line)


def _sample(path: Path, encoding: str, bom_bytes: int) -> str:
    """The first whole lines, decoded, with LF at every end."""
    first = next(
        blocks(
            path,
            encoding=encoding,
            bom_bytes=bom_bytes,
            transcode=encoding not in AS_THEY_ARE,
            block_bytes=_SAMPLE_BYTES,
        ),
        None,
    )
    if first is None:
        raise IntakeError("the file is empty but for its byte order mark", source=path)
    return first.data.decode(encoding if encoding in AS_THEY_ARE else "utf-8")
