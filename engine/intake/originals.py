"""The rows of a list as they stand in it, cut into cells, with the lines they begin on: what an export puts its columns behind.

The rows are exactly those that `read` judged, on the same lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from engine.intake.blocks import Block
from engine.intake.files import ListFile
from engine.intake.reader import _data_blocks, _Feed
from engine.intake.sheets import Sheet

_BLOCK_BYTES = 256 << 10

Rows = tuple[Sequence[int], list[list[str]]]  # the lines they begin on, and their cells


def original_rows(list_file: ListFile) -> Iterator[Rows]:
    """Every row below the header, in order, some thousand at a time. Raises IntakeError: changed, unreadable."""
    content = list_file.contents
    if isinstance(content, Sheet):
        for first, cut in content.rows():
            skip = max(0, list_file.first_line - first)
            if data := cut[skip:]:
                yield range(first + skip, first + len(cut)), data
        return
    codec = "utf-8" if list_file.transcoded else list_file.encoding
    stream = _data_blocks(list_file, content, _BLOCK_BYTES)
    for block in stream:
        if b'"' in block.data:
            yield _with_quotes(block, stream, codec, list_file.delimiter)
        else:
            yield _plain(block, codec, list_file.delimiter)


def _plain(block: Block, codec: str, delimiter: str) -> Rows:
    """Without a quote in the block, every line is a row, and every delimiter divides cells."""
    lines = block.data.decode(codec).split("\n")
    lines.pop()  # behind the last line end
    return range(block.first_line, block.first_line + len(lines)), [line.split(delimiter) for line in lines]


def _with_quotes(block: Block, stream: Iterator[Block], codec: str, delimiter: str) -> Rows:
    """A quoted cell may reach over lines, and into the next blocks."""
    feed = _Feed(block, stream, codec)
    reader = csv.reader(feed, delimiter=delimiter)
    lines: list[int] = []
    rows: list[list[str]] = []
    while not feed.is_between_blocks:
        lines.append(feed.line)
        rows.append(next(reader))  # planning has read the same bytes: a cell too long, or an open quote, ended it there
    return lines, rows
