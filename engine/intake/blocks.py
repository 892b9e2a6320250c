"""A list file as blocks of whole lines, in bytes where a delimiter can be trusted.

UTF-8 and GB18030 stay as they are: the bytes of LF, CR, the quote, comma, tab and semicolon never occur inside one of their
longer characters (GB18030's second bytes begin at 0x30, and 0x3B, 0x2C, 0x22 are not among them). The pipe (0x7C) does,
and UTF-16 is no superset of ASCII: those are turned into UTF-8 on the way. Line ends become LF: CRLF, CR and LF all end a line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import IntakeError
from engine.intake.given import Content
from engine.language import _

LONGEST_LINE = 1 << 20
"""Bytes. A list of people has no longer ones, and a file without line ends must not fill the memory."""

_LONE_CR = re.compile(rb"\r(?!\n)")
AS_THEY_ARE = ("utf-8", "gb18030")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Whole lines, each ended by LF. `first_line` is the 1-based physical line of the first."""

    first_line: int
    data: bytes


def blocks(content: Content, *, encoding: str, bom_bytes: int, transcode: bool, block_bytes: int) -> Iterator[Block]:
    """Read the list once, in order, flat in memory. Raises IntakeError: a line too long, bytes that do not decode, I/O."""
    line = 1
    carry = b""
    for piece in line_ended(_pieces(content, encoding if transcode else None, bom_bytes, block_bytes)):
        cut = piece.rfind(b"\n") + 1
        if len(carry) + (piece.find(b"\n") if cut else len(piece)) > LONGEST_LINE:
            raise IntakeError(
                _("the line is longer than {most} KiB; is this a list with one row a line?").format(
                    most=LONGEST_LINE >> 10
                ),
                source=content.source,
                line=line,
            )
        if not cut:
            carry += piece
            continue
        block = Block(first_line=line, data=carry + piece[:cut])
        carry = piece[cut:]
        line += block.data.count(b"\n")
        yield block
    if carry:
        yield Block(first_line=line, data=carry + b"\n")


def _pieces(content: Content, transcoded_from: str | None, bom_bytes: int, block_bytes: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(transcoded_from)() if transcoded_from else None
    try:
        with content.opened() as file:
            file.read(bom_bytes)
            while piece := file.read(block_bytes):
                yield decoder.decode(piece).encode() if decoder else piece
        if decoder:
            yield decoder.decode(b"", final=True).encode()
    except UnicodeError as exc:
        raise IntakeError(
            _("does not decode any more; it was changed while it was read"), source=content.source
        ) from exc


def line_ended(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """CRLF and CR to LF. A CR at the end of a piece waits for the next, which may begin with its LF."""
    held = b""
    for raw in pieces:
        piece = held + raw
        held = b""
        if piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"
        if _LONE_CR.search(piece):
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif b"\r" in piece:
            piece = piece.translate(None, b"\r")  # the usual case, at half the time
        if piece:
            yield piece
    if held:
        yield b"\n"
